"""What each bundle changed, from the ledger, apart by cause: edge, slippage, unwind, left, fees, gas.

The flows of the causes of a bundle add up to what the ledger says it changed, asset by asset, exactly: the edge is what the others leave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

from xarb.inquiry.decided import Decided
from xarb.sql.pick import read

CAUSES: Final = {
    "edge": "what the fills would have brought at the prices of the decision; of pools, what was expected of them",
    "slippage": "fills of planned orders at other prices than those of the decision; of pools, what came out beside what was expected",
    "unwind": "hedges and unwinds of legs that did not fill, against the prices of the decision",
    "left": "what was bought or sold beyond what was balanced, from the price of the decision to the mark",
    "fees": "fees of fills, in whatever coin",
    "gas": "gas of transactions, of those that reverted too",
}
NO_PAIR: Final = "(no pair)"
_DECISION, _FLOW, _FILL, _SWAP = range(4)
_ON_CHAIN: Final = ("cycle", "swap", "gas")
Flow = Counter[str]
Market = tuple[str, str]


class Bundle(NamedTuple):
    """One bundle with what it changed.

    Attributes:
        number: None of what belongs to no bundle, such as gas of a transaction that only takes a nonce back.
        ts: when it was decided, else when it first changed something, ns.
        strategy, pair: whose, and between which venues, or the trades of a cycle.
        opportunity, after_seq: the decision; None without one.
        edge_ppb: edge decided, as the opportunity has it.
        turnover: sum of the notional of its fills, money; `quote` is their asset, empty where there are none or several.
        moved: whether it changed any balance; gas of a transaction that reverted is enough.
        causes: flows by cause.
    """

    number: int | None
    ts: int
    strategy: str
    pair: str
    opportunity: int | None
    after_seq: int | None
    edge_ppb: int | None
    turnover: int
    quote: str
    moved: bool
    causes: dict[str, Flow]

    @property
    def flow(self) -> Flow:
        """All of what it changed."""
        found: Flow = Counter()
        for one in self.causes.values():
            found.update(one)
        return found


def bundles(decided: Decided, assets: Mapping[Market, tuple[str, str]], alike: Mapping[str, str]) -> Iterator[Bundle]:
    """Every bundle in order of its number; what belongs to none comes last.

    Args:
        decided: the run or start.
        assets: base and quote asset of (venue, symbol).
        alike: by address of a token the asset as which it counts.

    Raises:
        LogError: a file is damaged.
    """
    for number, rows in groupby(read(decided.outputs, _sql(decided)), key=_number):
        yield _bundle(number, list(rows), assets, alike)


def _number(row: tuple[Any, ...]) -> int | None:
    number: int | None = row[0]
    return number


def _bundle(
    number: int | None, rows: list[tuple[Any, ...]], assets: Mapping[Market, tuple[str, str]], alike: Mapping[str, str]
) -> Bundle:
    decision = next((row for row in rows if row[1] == _DECISION), None)
    fills = [row for row in rows if row[1] == _FILL]
    swaps = [row for row in rows if row[1] == _SWAP]
    flows = [row for row in rows if row[1] == _FLOW]
    causes: dict[str, Flow] = {cause: Counter() for cause in CAUSES}
    for _, _, _, _, asset, cause, delta, *_ in flows:
        name = alike.get(asset, asset) if cause in _ON_CHAIN else asset
        causes["fees" if cause == "fee" else "gas" if cause == "gas" else "edge"][name] += delta
    quotes = sorted({assets[row[4], row[5]][1] for row in fills})
    _take_out_fills(causes, fills, assets, is_swap=bool(swaps))
    _take_out_swaps(causes, swaps, alike)
    if decision is not None and decision[11] is None:
        _take_out_left(causes, fills, assets)
    first = decision or min(rows, key=_when)
    return Bundle(
        number=number,
        ts=first[2],
        strategy=first[3],
        pair=NO_PAIR if decision is None else decision[4],
        opportunity=None if decision is None else decision[8],
        after_seq=None if decision is None else decision[9],
        edge_ppb=None if decision is None else decision[12],
        turnover=sum(row[7] for row in fills),
        quote=quotes[0] if len(quotes) == 1 else "",
        moved=any(row[6] for row in flows),
        causes=causes,
    )


def _when(row: tuple[Any, ...]) -> int:
    ts: int = row[2]
    return ts


def _take_out_fills(
    causes: dict[str, Flow], fills: list[tuple[Any, ...]], assets: Mapping[Market, tuple[str, str]], *, is_swap: bool
) -> None:
    """What fills cost beside the price of the decision is slippage, of hedges and unwinds the cost of these.

    A swap's hedge is what was planned, not what a leg that failed made necessary.
    """
    for _, _, _, _, venue, symbol, qty, notional, price, scale, side, purpose, *_ in fills:
        if price is None:
            continue  # an order that an earlier start sent: what it was decided on is not here
        there = qty * price // 10**scale
        better = notional - there if side == "sell" else there - notional
        cause = "unwind" if purpose == "unwind" or (purpose == "hedge" and not is_swap) else "slippage"
        quote = assets[venue, symbol][1]
        causes[cause][quote] += better
        causes["edge"][quote] -= better


def _take_out_swaps(causes: dict[str, Flow], swaps: list[tuple[Any, ...]], alike: Mapping[str, str]) -> None:
    """What came out of the pools of a path beside what was expected of them."""
    for _, _, _, _, token, _, delta, _, _, _, expected, came, *_ in swaps:
        if delta and came and int(came):
            better = delta * (int(came) - int(expected)) // int(came)
            asset = alike.get(token, token)
            causes["slippage"][asset] += better
            causes["edge"][asset] -= better


def _take_out_left(causes: dict[str, Flow], fills: list[tuple[Any, ...]], assets: Mapping[Market, tuple[str, str]]) -> None:
    """What a pair bought or sold beyond what it balanced, from the price of the decision on."""
    net: Flow = Counter()
    prices: dict[tuple[str, str], tuple[int, int, str]] = {}  # by base and side: price, scale, quote
    for _, _, _, _, venue, symbol, qty, _, price, scale, side, *_ in fills:
        base, quote = assets[venue, symbol]
        net[base] += qty if side == "buy" else -qty
        if price is not None:
            prices.setdefault((base, side), (price, scale, quote))
    for base, qty in net.items():
        found = prices.get((base, "buy" if qty > 0 else "sell"))
        if qty and found is not None:
            price, scale, quote = found
            worth = qty * price // 10**scale
            causes["left"][base] += qty
            causes["left"][quote] -= worth
            causes["edge"][base] -= qty
            causes["edge"][quote] += worth


def _sql(decided: Decided) -> str:
    """Rows of decisions, flows, fills and swaps in one stream, by bundle: DuckDB gives one result at a time."""
    where = " AND ".join(f"{column} {operator} {value}" for column, operator, value in decided.bounds) or "true"
    return f"""
WITH o AS (SELECT DISTINCT "order", bundle FROM orders WHERE {where}
        UNION SELECT DISTINCT "order", bundle FROM cycle_states WHERE {where}),
    d AS (SELECT bundle, ts, after_seq, strategy, opportunity, edge_ppb, bid_int, ask_int, legs,
        sell_venue, sell_symbol, buy_venue, buy_symbol FROM opportunities WHERE verdict = 'taken' AND {where}),
    c AS (SELECT bundle, venue, symbol, arg_min(price_int, ("order", n)) AS price_int, arg_min(px_scale, ("order", n)) AS px_scale
        FROM commands WHERE kind = 'submit' AND {where} GROUP BY ALL),
    l AS (SELECT o.bundle, ledger."order", ledger.ts, strategy, asset, cause, delta FROM ledger LEFT JOIN o USING ("order")
        WHERE (ledger."order" IS NOT NULL OR cause = 'gas') AND {where})
SELECT bundle, {_DECISION} AS tag, ts, strategy, coalesce(legs, sell_venue || ' / ' || buy_venue, '{NO_PAIR}') AS a, '' AS b, NULL AS x, NULL AS y,
    opportunity AS i, after_seq AS j, '' AS t, legs AS u, edge_ppb AS k FROM d
UNION ALL SELECT bundle, {_FLOW}, min(ts), strategy, asset, cause, sum(delta), NULL, NULL, NULL, NULL, NULL, NULL FROM l
    GROUP BY bundle, strategy, asset, cause
UNION ALL SELECT f.bundle, {_FILL}, f.ts, f.strategy, f.venue, f.symbol, f.qty, f.notional,
    CASE WHEN d.legs IS NULL AND (d.sell_venue, d.sell_symbol) = (f.venue, f.symbol) THEN d.bid_int
        WHEN d.legs IS NULL AND (d.buy_venue, d.buy_symbol) = (f.venue, f.symbol) THEN d.ask_int ELSE c.price_int END,
    c.px_scale, f.side, f.purpose, NULL
    FROM (SELECT * FROM fills WHERE {where}) f LEFT JOIN d USING (bundle)
    LEFT JOIN c ON c.bundle = f.bundle AND c.venue = f.venue AND c.symbol = f.symbol
UNION ALL SELECT s.bundle, {_SWAP}, s.ts, s.strategy, y.token_out, '', s.delta, NULL, NULL, NULL, y.expected_out, r.amount_out, NULL
    FROM (SELECT bundle, "order", min(ts) AS ts, strategy, asset, sum(delta) AS delta FROM l WHERE cause = 'swap' GROUP BY ALL) s
    JOIN (SELECT "order", token_out, expected_out FROM cycles WHERE kind = 'submit' AND expected_out IS NOT NULL AND {where}) y
        ON y."order" = s."order" AND y.token_out = s.asset
    JOIN (SELECT "order", arg_max(amount_out, (after_seq, n)) AS amount_out FROM cycle_states
        WHERE state = 'succeeded' AND {where} GROUP BY ALL) r ON r."order" = s."order"
ORDER BY 1 NULLS LAST, 2, 3, 5, 6"""
