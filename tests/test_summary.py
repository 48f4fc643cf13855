"""The summary of a run: counted from hand-written output rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from xarb.model.columns import TABLES
from xarb.model.event import OutputRow
from xarb.model.units import MONEY_ONE
from xarb.summary import Summary

ASSETS = {("a", "BTC/USD"): ("BTC", "USD"), ("b", "BTC/USD"): ("BTC", "USD"), ("b", "USDC/USD"): ("USDC", "USD")}
OPENING = {("main", "a", "USD"): 1000 * MONEY_ONE, ("main", "b", "BTC"): 2 * MONEY_ONE}
_COMMON = {"account": "main", "strategy": "s", "leg": 0, "symbol": "BTC/USD"}


def row(kind: str, n: int, **values: Any) -> OutputRow:
    """A row in column order; `ts` is `n` seconds unless given."""
    names = [column.name for column in TABLES[kind].columns]
    filled = {"after_seq": 0, "n": n, "ts": n, **_COMMON, **values}
    return (kind, *(filled.get(name) for name in names))


def money(amount: float) -> int:
    """A round amount of money."""
    return int(amount * 1000) * (MONEY_ONE // 1000)


def fill(
    n: int, order: int, side: str, venue: str, *, price: float, qty: float, fee: float = 0, ts: int | None = None, bundle: int = 1
) -> list[OutputRow]:
    """A fill with its ledger rows."""
    sign = 1 if side == "buy" else -1
    ts = n if ts is None else ts
    common = {"venue": venue, "order": order, "ts": ts}
    notional = price * qty
    return [
        row(
            "fills",
            n,
            bundle=bundle,
            fill_id=f"{order}.1",
            side=side,
            price=money(price),
            qty=money(qty),
            notional=money(notional),
            fee=money(fee),
            fee_asset="USD",
            liquidity="taker",
            purpose="open",
            **common,
        ),
        row("ledger", n, asset="BTC", delta=sign * money(qty), balance=money(1), cause="trade", **common),
        row("ledger", n, asset="USD", delta=-sign * money(notional), balance=money(500), cause="trade", **common),
        row("ledger", n, asset="USD", delta=-money(fee), balance=money(500), cause="fee", **common),
    ]


def order(n: int, number: int, venue: str, side: str) -> OutputRow:
    """An order as it is sent."""
    return row(
        "orders", n, order=number, bundle=1, state="pending", side=side, price=money(100), qty=money(1), filled_qty=0, venue=venue
    )


def summary(mids: dict[str, float] | None = None) -> Summary:
    """An empty summary in USD."""
    known = {asset: money(value) for asset, value in ({"BTC": 100} if mids is None else mids).items()}
    return Summary(marks=lambda asset, _: known.get(asset), opening=OPENING, assets=ASSETS, currencies=["USD"])


TAKEN = row(
    "opportunities",
    0,
    opportunity=1,
    phase="decided",
    sell_venue="b",
    buy_venue="a",
    edge_ppb=10_000_000,
    verdict="taken",
    bundle=1,
)
TRADE = [TAKEN, order(0, 1, "b", "sell"), order(0, 2, "a", "buy")]


def cells(made: Summary, title: str) -> list[tuple[str, ...]]:
    """The rows of the table whose title begins so; none where it is not printed."""
    return [line for table in made.tables() if table.title.startswith(title) for line in table.rows]


def test_profit_is_what_balances_gained_after_fees() -> None:
    """Selling at 102 and buying at 101 with fees of 0.2 earns 0.8 at whatever price the coin stands."""
    made = summary({"BTC": 90})
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1, fee=0.1), *fill(2, 2, "buy", "a", price=101, qty=1, fee=0.1)])
    made.finish()
    assert made.line("s").pnl == "0.8 USD"
    assert cells(made, "Pairs of venues") == [("b / a", "1", "0.8 USD")]
    assert cells(made, "Fees paid") == [("s", "USD", "0.2")]


def test_edge_realised_is_over_one_side_and_beside_the_edge_decided() -> None:
    """Decided at 100 bps, realised 0.8 of a mean side of 101.5."""
    made = summary()
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1, fee=0.1), *fill(2, 2, "buy", "a", price=101, qty=1, fee=0.1)])
    assert cells(made, "Strategies")[0][-2:] == ("100.000", "78.818")


def test_bundles_beyond_the_bound_are_counted_and_valued_only() -> None:
    """With edges over one bundle, a second and a third one leave the edges as they were; counts and PnL have all of them."""
    made = Summary(marks=lambda *_: money(100), opening=OPENING, assets=ASSETS, currencies=["USD"], edge_bundles=1)
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1), *fill(2, 2, "buy", "a", price=101, qty=1)])
    for number in (2, 3):
        taken = {"phase": "decided", "sell_venue": "b", "buy_venue": "a", "edge_ppb": 0, "verdict": "taken", "bundle": number}
        mine = {"order": number + 1, "bundle": number, "venue": "b", "side": "sell", "qty": money(1)}
        gain = {"asset": "USD", "delta": money(7), "balance": money(500), "cause": "trade", "order": number + 1, "venue": "b"}
        made.take([row("opportunities", 3, **taken), row("orders", 3, state="pending", filled_qty=0, **mine)])
        made.take([row("fills", 4, price=money(7), notional=money(7), fee=0, fee_asset="USD", **mine), row("ledger", 4, **gain)])
    assert cells(made, "Strategies")[0][-2:] == ("100.000", "98.522")
    assert cells(made, "Pairs of venues") == [("b / a", "3", "15 USD")]
    assert made.line("s").pnl == "15 USD"
    assert made.bundles == 3


def state(number: int, bundle: int, venue: str, word: str, *, filled: float, previous: str | None = "pending") -> OutputRow:
    """An order of one coin in a state."""
    common = {"order": number, "bundle": bundle, "venue": venue, "side": "sell" if venue == "b" else "buy"}
    return row("orders", number, state=word, previous=previous, qty=money(1), filled_qty=money(filled), **common)


def bundle_rows(number: int) -> list[OutputRow]:
    """A whole bundle, the ends of its orders with it: every third without a pair, every fifth with a fee in a coin that has no mark."""
    sell, buy = 2 * number - 1, 2 * number
    edge, venue = 1_000_000 * number, "ac"[number % 2]
    taken = {"phase": "decided", "sell_venue": "b", "buy_venue": venue, "edge_ppb": edge, "verdict": "taken", "bundle": number}
    rows = [
        state(sell, number, "b", "pending", filled=0, previous=None),
        state(buy, number, "a", "pending", filled=0, previous=None),
    ]
    rows += [row("opportunities", number, **taken)] if number % 3 else []
    for one, side, place, price in ((sell, "sell", "b", 101 + number % 4), (buy, "buy", "a", 100)):
        made = fill(number, one, side, place, price=price, qty=0.75, fee=0.001, bundle=number)
        if number % 5 == 0:
            coin = {"asset": "BNB", "delta": -money(0.01), "balance": money(1), "cause": "fee", "order": one, "venue": place}
            made.append(row("ledger", number, **coin))
        rows += [*made, state(one, number, place, "filled", filled=0.75)]
    return rows


def test_old_bundles_are_added_up_and_nothing_printed_changes() -> None:
    """Kept each alone or added up behind the second one: every table is the same, whatever has no mark or no pair."""
    kept, added = (
        Summary(
            marks=lambda asset, _: {"BTC": money(100)}.get(asset), opening=OPENING, assets=ASSETS, currencies=["USD"], latest=latest
        )
        for latest in (1_000, 2)
    )
    for number in range(1, 60):
        for made in (kept, added):
            made.take(bundle_rows(number))
            assert not made._alive
    for made in (kept, added):
        made.finish()
    assert added.tables() == kept.tables()
    assert added.line("s") == kept.line("s")
    assert len(added._bundles._latest) < 4
    assert len(added._bundles._old) < 20


def test_a_fill_after_the_end_of_its_order_counts() -> None:
    """The order and its bundle were put away: the fill, its share and its money count all the same, once."""
    made = Summary(marks=lambda *_: money(100), opening=OPENING, assets=ASSETS, currencies=["USD"], latest=1)
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1), state(1, 1, "b", "filled", filled=1)])
    made.take([state(1, 1, "b", "canceled", filled=1, previous="filled"), state(2, 1, "a", "canceled", filled=0)])
    assert made.line("s").fill_ratio == "0.5000"  # of two orders one, once
    for number in range(2, 8):
        made.take(bundle_rows(number))
    before, sent = made.line("s"), int(made.line("s").orders)
    assert 1 not in made._bundles._latest
    late = [*fill(9, 2, "buy", "a", price=101, qty=0.5), state(2, 1, "a", "filled", filled=0.5, previous="canceled")]
    made.take([*late, state(2, 1, "a", "canceled", filled=0.5, previous="filled")])
    after = made.line("s")
    assert float(after.fill_ratio) * sent - float(before.fill_ratio) * sent == pytest.approx(0.5, abs=0.01)
    assert (Decimal(after.pnl.split()[0]) - Decimal(before.pnl.split()[0])) == Decimal("-0.5")
    assert made.bundles == 7


def test_a_bundle_without_an_opportunity_is_valued_and_has_no_edge() -> None:
    """A strategy may trade on no opportunity: its bundle counts under no pair, once, with what it gained."""
    made = summary()
    bare = [one for one in TRADE if one[0] == "orders"]
    made.take([*bare, *fill(1, 1, "sell", "b", price=102, qty=1, fee=0.1), *fill(2, 2, "buy", "a", price=101, qty=1, fee=0.1)])
    assert cells(made, "Pairs of venues") == [("(no pair)", "1", "0.8 USD")]
    assert cells(made, "Strategies")[0][-3:] == ("0.8 USD", "-", "-")
    assert made.bundles == 1


def test_bundle_in_two_currencies_has_no_realised_edge() -> None:
    """Notionals of different currencies are never added."""
    convert = [
        row(
            "fills",
            3,
            order=2,
            bundle=1,
            venue="b",
            symbol="USDC/USD",
            price=money(1),
            qty=money(1),
            notional=money(1),
            fee=0,
            fee_asset="USD",
        )
    ]
    sale = fill(1, 1, "sell", "b", price=102, qty=1)
    usdc = {**ASSETS, ("b", "BTC/USD"): ("BTC", "USDC")}
    made = Summary(
        marks=lambda asset, _: {"BTC": money(100), "USDC": money(1)}.get(asset), opening=OPENING, assets=usdc, currencies=["USD"]
    )
    made.take([*TRADE, *sale, *convert])
    assert cells(made, "Strategies")[0][-1] == "-"


def test_drawdown_follows_fills_and_not_the_cut_of_rows() -> None:
    """The curve is the same whether rows come at once or one by one."""
    rows = [
        *TRADE,
        *fill(1, 1, "sell", "b", price=102, qty=1),
        *fill(2, 2, "buy", "a", price=101, qty=1),
        *fill(3, 1, "sell", "b", price=95, qty=1),
        *fill(4, 2, "buy", "a", price=99, qty=1),
    ]
    whole, parts = summary(), summary()
    whole.take(rows)
    for one in rows:
        parts.take([one])
    for made in (whole, parts):
        made.finish()
    assert whole.equity["USD"].drawdown == parts.equity["USD"].drawdown == money(4)
    assert whole.equity["USD"].peak == money(1)


def test_unknown_price_is_said_and_not_invented() -> None:
    """Without a mark a flow is not valued."""
    made = summary({})
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1)])
    made.finish()
    assert made.line("s").pnl == "not valued: no mark"


def test_inventory_runs_dry_at_a_twentieth() -> None:
    """The first row at which a balance is below a twentieth of its opening is named, by account, venue and asset."""
    made = summary()
    common = {"venue": "a", "asset": "USD", "cause": "trade", "delta": -money(10)}
    made.take([row("ledger", 1, balance=money(50), **common), row("ledger", 2, balance=money(49), ts=10**18, **common)])
    assert cells(made, "Inventory ran dry") == [("main", "a", "USD", "2001-09-09T01:46:40.000Z")]


def test_what_bundles_left_is_told_by_cause_with_its_cost() -> None:
    """Quantities and costs add up by strategy, cause and asset; the worth is at the last mids, and without one it is not invented."""
    made = summary()
    for n, (asset, qty, cost, cause) in enumerate(
        (("BTC", 2.0, 210.0, "held"), ("BTC", -1.0, -99.5, "held"), ("BTC", 0.001, 0.101, "dust"), ("ETH", 1.0, 5.0, "dust"))
    ):
        made.take([row("residuals", n, bundle=n, asset=asset, qty=money(qty), cost=money(cost), cost_asset="USD", cause=cause)])
    assert cells(made, "What bundles left as inventory, by cause; worth at the last mids") == [
        ("s", "dust", "BTC", "1", "0.001", "0.101", "0.1", "-0.001", "USD"),
        ("s", "dust", "ETH", "1", "1", "5", "not valued: no mark", "-", "USD"),
        ("s", "held", "BTC", "2", "1", "110.5", "100", "-10.5", "USD"),
    ]


def test_refusals_are_counted_by_reason() -> None:
    """Refused decisions are grouped by strategy and reason, the most frequent first."""
    made = summary()
    refused = {"phase": "decided", "verdict": "refused"}
    made.take([row("opportunities", n, reason=reason, **refused) for n, reason in enumerate(["depth", "balance", "balance"])])
    assert cells(made, "Refusals") == [("s", "balance", "2"), ("s", "depth", "1")]


def test_fill_ratio_is_the_mean_share_and_adds_no_coins() -> None:
    """One order whole and one filled to a quarter give 0.625, whatever their sizes and coins."""
    made = summary()
    big = row("orders", 0, order=2, bundle=1, state="pending", side="buy", qty=money(1000), filled_qty=0, venue="a")
    made.take([TAKEN, TRADE[1], big, *fill(1, 1, "sell", "b", price=102, qty=1), *fill(2, 2, "buy", "a", price=1, qty=250)])
    assert made.line("s").fill_ratio == "0.6250"


def test_realised_edges_of_two_currencies_stand_apart() -> None:
    """Bundles in USD and in KRW are never averaged together, and the edge decided is weighted as the realised one is."""
    assets = {**ASSETS, ("k", "BTC/KRW"): ("BTC", "KRW")}
    made = Summary(
        marks=lambda _, currency: money(100) if currency == "USD" else money(150_000),
        opening=OPENING,
        assets=assets,
        currencies=["USD", "KRW"],
    )
    common = {"order": 3, "bundle": 2, "venue": "k", "symbol": "BTC/KRW"}
    won = [
        row(
            "opportunities", 3, opportunity=2, phase="decided", sell_venue="k", buy_venue="k", edge_ppb=0, verdict="taken", bundle=2
        ),
        row("orders", 3, state="pending", side="sell", qty=money(1), filled_qty=0, **common),
        row("fills", 4, price=money(153_000), qty=money(1), notional=money(153_000), fee=0, fee_asset="KRW", **common),
        row("ledger", 4, asset="BTC", delta=-money(1), balance=0, cause="trade", **common),
        row("ledger", 4, asset="KRW", delta=money(153_000), balance=0, cause="trade", **common),
    ]
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1), *fill(2, 2, "buy", "a", price=101, qty=1), *won])
    assert cells(made, "Strategies")[0][-2:] == ("100.000 USD, 0.000 KRW", "98.522 USD, 392.157 KRW")


def test_curve_says_which_moments_it_leaves_out() -> None:
    """Before a fill prices USDC in USD nothing is assumed of it: the moment is left out and counted, whatever mark is known."""
    usdc = {**ASSETS, ("b", "BTC/USD"): ("BTC", "USDC")}
    made = Summary(marks=lambda *_: money(1), opening=OPENING, assets=usdc, currencies=["USD"])
    held = row("ledger", 1, asset="USDC", delta=money(102), balance=0, cause="trade", order=1, venue="b")
    sale = [line for line in fill(1, 1, "sell", "b", price=102, qty=1) if line[0] == "fills"]
    made.take([*TRADE, *sale, held])
    made.finish()
    assert cells(made, "Trading PnL") == [("USD", "102", "102", "0", "1")]


def test_fee_coin_is_in_the_end_of_the_curve_only() -> None:
    """A third coin has no price in our fills: the curve is without it, at the end it is taken at its mark."""
    made = summary({"BTC": 100, "BNB": 500})
    coin = row("ledger", 2, asset="BNB", delta=-money(0.01), balance=money(1), cause="fee", order=1, venue="b")
    made.take([*TRADE, *fill(1, 1, "sell", "b", price=102, qty=1), *fill(2, 2, "buy", "a", price=101, qty=1), coin])
    assert made.equity["USD"].last == money(1)
    made.finish()
    assert made.equity["USD"].last == money(1) - money(5)
