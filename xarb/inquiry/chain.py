"""The chain of an order or an opportunity as tables, from rows of the log: what was decided and sent, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.decided import Decided
from xarb.inquiry.sections import Section, Shown, amount, bps, listed, millis, moment_of, scaled

Row = dict[str, Any]
_PLACE: Final[tuple[Shown, ...]] = ("after_seq", "n", ("ts", moment_of))


class Chain(NamedTuple):
    """The rows of one chain, each kind in the log's order; `order` is None where an opportunity is asked for."""

    order: int | None
    commands: list[Row]  # of the bundle
    opportunities: list[Row]
    refusals: list[Row]
    decision: Row | None  # the decided row that is explained: of an opportunity the first refusal, as later ones follow from it


class Became(NamedTuple):
    """The rows of what became of some orders; `reports` are of the kind that the run or start has."""

    reports: list[Row]
    states: list[Row]
    fills: list[Row]
    ledger: list[Row]
    residuals: list[Row]


def told(chain: Chain) -> list[Section]:
    """Command, bundle, opportunity, refusals: what was decided and sent."""
    commands = [_readable(row) for row in chain.commands]
    what: tuple[Shown, ...] = ("kind", "purpose", "order", "client_order_id", "bundle", "leg", "attempt")
    what = (*_PLACE, *what, "venue", "symbol", "side", "tif", "price", "qty")
    whose = f": {commands[0]['strategy']} on account {commands[0]['account']}" if commands else ""
    mine = [row for row in commands if row["order"] == chain.order]
    is_cycle = any(row["legs"] is not None for row in chain.opportunities)
    sides: tuple[Shown, ...] = ("legs",) if is_cycle else ("sell", "buy")
    rows_of = () if is_cycle else ("sell_seq", "buy_seq")
    episode = [
        row | {side: f"{row[f'{side}_symbol']}@{row[f'{side}_venue']}" for side in ("sell", "buy")} for row in chain.opportunities
    ]
    edges: tuple[Shown, ...] = (("edge_ppb", bps), ("best_edge_ppb", bps), *rows_of, "verdict", "reason", "bundle")
    asked: tuple[Shown, ...] = (*_PLACE, "reason", ("value", amount), ("bound", amount), "venue", "symbol")
    return [
        listed("commands", "The order's commands", mine, *what),
        listed("bundle", f"The bundle's commands{whose}", commands, *what),
        _in_units(
            listed(
                "opportunity",
                f"The opportunity, edges {'after' if is_cycle else 'before'} fees",
                episode,
                *_PLACE,
                "phase",
                *sides,
                *edges,
                ("life_ns", millis),
            )
        ),
        listed("refusals", "Refusals in this opportunity: what was asked and what is allowed", chain.refusals, *asked),
    ]


def _readable(row: Row) -> Row:
    """A command with its price and quantity as text."""
    price = None if row["price_int"] is None else scaled(row["price_int"], row["px_scale"])
    return row | {"price": price, "qty": None if row["qty_int"] is None else scaled(row["qty_int"], row["qty_scale"])}


def _in_units(section: Section) -> Section:
    """The section with columns named by the units in which they are shown."""
    return section._replace(columns=tuple(name.replace("_ppb", "_bps").replace("_ns", "_ms") for name in section.columns))


def became(decided: Decided, orders: Sequence[int], bundles: Sequence[int]) -> Became:
    """Read what became of orders and of the bundles that they belong to.

    Raises:
        LogError: a file is damaged.
    """
    which = ("order", "in", list(orders))
    mine = [("start", "=", decided.number)] if decided.reports == "reports" else []
    return Became(
        reports=decided.rows(decided.reports, which, *mine),
        states=decided.rows("orders", which),
        fills=decided.rows("fills", which),
        ledger=decided.rows("ledger", which),
        residuals=decided.rows("residuals", ("bundle", "in", list(bundles))),
    )


def aftermath(chain: Chain, rows: Became) -> list[Section]:
    """Reports, states, fills and ledger of all orders of the bundle, and what it gained in each asset."""
    prices: tuple[Shown, ...] = (("price", amount), ("qty", amount), ("notional", amount), ("fee", amount), "fee_asset")
    states = (("filled_qty", amount), ("qty", amount), "reason")
    left: tuple[Shown, ...] = (("qty", amount), ("cost", amount), "cost_asset")
    return [
        _reports(chain, rows.reports),
        listed("states", "Order states", rows.states, "order", *_PLACE, "state", "previous", *states),
        listed("fills", "Fills", rows.fills, "order", *_PLACE, "purpose", "side", *prices, "liquidity", "fill_id"),
        listed(
            "ledger", "Ledger", rows.ledger, "order", *_PLACE, "venue", "asset", "cause", ("delta", amount), ("balance", amount)
        ),
        listed("residuals", "Left as inventory, at its cost", rows.residuals, *_PLACE, "bundle", "asset", *left, "cause"),
        result(rows.ledger, "What the bundle changed" if chain.order is not None else "What its bundles changed"),
    ]


def result(ledger: Sequence[Row], what: str) -> Section:
    """What ledger rows come to, asset by asset, fees apart."""
    found: dict[str, list[int]] = {}
    for row in ledger:
        found.setdefault(row["asset"], [0, 0])[row["cause"] == "fee"] += row["delta"]
    gained = [(asset, amount(trade), amount(fee), amount(trade + fee)) for asset, (trade, fee) in sorted(found.items())]
    return Section("result", f"{what}, asset by asset", ("asset", "trades", "fees", "sum"), gained)


def _reports(chain: Chain, reports: Sequence[Row]) -> Section:
    """What the venue said, with the time from the command."""
    sent = {row["order"]: row["ts"] for row in chain.commands if row["kind"] == "submit"}
    prices: tuple[Shown, ...] = (("price", amount), ("qty", amount), ("fee", amount), "fee_asset", "reason")
    since: Shown = ("since_command", millis)
    if reports and "ts_recv" in reports[0]:
        rows = [row | {"since_command": row["ts_recv"] - sent[row["order"]]} for row in reports]
        shown: tuple[Shown, ...] = ("order", "seq", ("ts_recv", moment_of), since, "event", "source", *prices, "error")
        return listed("reports", "What the venues said, ms since the command", rows, *shown)
    rows = [row | {"since_command": row["ts"] - sent[row["order"]]} for row in reports]
    return listed(
        "reports", "What the simulated venues said, ms since the command", rows, "order", *_PLACE, since, "event", *prices
    )
