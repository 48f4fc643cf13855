"""The at verb: books, balances, orders, bundles and feeds as the engine had them once an input was applied, and nothing after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.assembly import Assembly
from xarb.console import Advance
from xarb.engine.captured import BundleCopy, DecisionsCopy, OrderCopy
from xarb.engine.engine import Engine
from xarb.errors import ConfigError
from xarb.inquiry.decided import Decided, open_decided
from xarb.inquiry.moment import PoolSeen, Seen
from xarb.inquiry.rewound import Rewound, rewound
from xarb.inquiry.sections import Section, amount, bps, moment_of, scaled
from xarb.inquiry.seen import feeds, levels, pools
from xarb.model.instrument import Instrument
from xarb.model.order import ORDER_TERMINAL

_ORDERS: Final = (
    *("strategy", "bundle", "leg", "order", "purpose", "venue", "symbol", "side", "price", "qty", "filled", "state", "unknown_at"),
    "cancels_sent",
)


class Markets(NamedTuple):
    """Which instruments are shown (`BTC/USDT@kraken`; all without any), and how many levels of their books."""

    names: Sequence[str] = ()
    depth: int = 5


ALL: Final = Markets()


def at(
    folder: Path, seq: int, markets: Markets = ALL, *, log: Path | None = None, start: int | None = None, advance: Advance
) -> list[Section]:
    """What the engine knew once it had applied an input.

    Args:
        folder: a run or a live log.
        seq: the input.
        markets: the instruments to show.
        log: the run's input log, where it does not lie where the run says.
        start: which start of a live log; None is the one that has the input.
        advance: told how far the replay is.

    Raises:
        ConfigError: there is no such input or instrument.
        LogError: the log is damaged.
        Refused: the inputs were pruned or are not sealed yet, or this code decides otherwise than the code of the run did.
    """
    with open_decided(folder, log=log, start=start, seq=seq) as decided:
        found = rewound(decided, seq, advance)
        engine = found.assembly.engine
        if engine.position < 0:
            raise ConfigError(f"{decided.title} had applied nothing up to seq {seq}")
        state = engine.capture().decisions
        return [_head(decided, found, state), *knowledge(found.assembly, markets, state)]


def knowledge(assembly: Assembly, markets: Markets, state: DecisionsCopy) -> list[Section]:
    """What an engine knows now, `state` being its own.

    Raises:
        ConfigError: there is no such instrument.
    """
    engine, shown = assembly.engine, _shown(assembly, markets)
    books = [one for one in shown if one.instrument.kind != "pool"]
    return [
        feeds("feeds", "Feeds and best quotes", shown, engine.now),
        levels("levels", "Books", books),
        pools("pools", "Pools", shown),
        _balances(state),
        _inventory(state),
        Section("orders", "Orders that may still fill", _ORDERS, list(_orders(state, engine.instruments))),
        _bundles(state),
        _cycles(state),
        Section(
            "opportunities",
            "Open opportunities",
            ("strategy", "opportunity", "edge_bps", "best_edge_bps", "since"),
            list(_edges(assembly)),
        ),
        _breakers(state),
    ]


def _shown(assembly: Assembly, markets: Markets) -> list[Seen]:
    engine = assembly.engine
    numbers = {one.id: number for number, one in enumerate(engine.instruments)}
    for name in markets.names:
        if name not in numbers:
            raise ConfigError(f"no instrument {name}; there are {', '.join(sorted(numbers))}")
    wanted = [numbers[name] for name in markets.names] or range(len(engine.instruments))
    market, chains = engine.market, engine.chains
    return [
        Seen(
            number,
            engine.instruments[number],
            market.best(number),
            market.levels(number, "bid", markets.depth),
            market.levels(number, "ask", markets.depth),
            chains.feed(number) if chains.is_pool(number) else market.feed(number),
            _pool(engine, number),
        )
        for number in wanted
    ]


def _pool(engine: Engine, number: int) -> PoolSeen | None:
    if not engine.chains.is_pool(number):
        return None
    block = engine.chains.block(engine.instruments[number].venue)
    return PoolSeen(engine.chains.maths(number), None if block is None else block.number)


def _head(decided: Decided, found: Rewound, state: DecisionsCopy) -> Section:
    engine = found.assembly.engine
    rows: list[tuple[str, Any]] = [
        ("of", decided.title),
        ("inputs", str(decided.log)),
        ("last input applied", engine.position),
        ("time", moment_of(engine.now)),
        ("armed", "yes" if state.risk.armed else "no"),
        ("killed", state.execution.killed or "no"),
        ("orders so far", engine.execution.orders),
        ("replayed from", "the first input" if found.since is None else f"the checkpoint of input {found.since}"),
        ("rows that came again as recorded", found.rows),
    ]
    return Section("moment", f"As of input {found.seq}", ("what", "value"), rows)


def _balances(state: DecisionsCopy) -> Section:
    rows = [
        (account, venue, asset, amount(balance), amount(reserved), amount(balance - reserved))
        for account, venue, asset, balance, reserved in sorted(state.portfolio.pots)
        if balance or reserved
    ]
    return Section("balances", "Balances", ("account", "venue", "asset", "balance", "reserved", "free"), rows)


def _inventory(state: DecisionsCopy) -> Section:
    """What the fills of each strategy came to so far, and what of it bundles left as inventory."""
    left: dict[tuple[str, str], int] = {}
    for strategy, asset, _, qty, _ in state.portfolio.holdings:
        left[strategy, asset] = left.get((strategy, asset), 0) + qty
    rows = [
        (strategy, asset, amount(flow), amount(left.get((strategy, asset), 0)))
        for strategy, asset, flow, _ in sorted(state.portfolio.shares)
        if flow or left.get((strategy, asset))
    ]
    return Section("inventory", "What strategies made, asset by asset", ("strategy", "asset", "by_fills", "left_by_bundles"), rows)


def _orders(state: DecisionsCopy, instruments: Sequence[Instrument]) -> Iterator[tuple[Any, ...]]:
    for bundle in state.execution.archive.open:
        for order in bundle.orders:
            if order.state not in ORDER_TERMINAL:
                yield _order(bundle, order, instruments[order.instrument])


def _order(bundle: BundleCopy, order: OrderCopy, of: Instrument) -> tuple[Any, ...]:
    side = "buy" if order.sign > 0 else "sell"
    sizes = (scaled(order.price, of.px_scale), scaled(order.qty, of.qty_scale), scaled(order.filled, of.qty_scale))
    names = (bundle.strategy, bundle.number, order.leg, order.number, order.purpose, of.venue, of.symbol, side)
    return (*names, *sizes, order.state, moment_of(order.due) if order.due else None, order.cancels)


def _bundles(state: DecisionsCopy) -> Section:
    rows = [
        (one.strategy, one.number, one.state, one.sequence, one.opportunity, moment_of(one.began), _text(one.flows))
        for one in state.execution.archive.open
    ]
    return Section("bundles", "Open bundles", ("strategy", "bundle", "state", "sequence", "opportunity", "began", "by_fills"), rows)


def _text(flows: dict[str, int]) -> str:
    return " ".join(f"{amount(flow)} {asset}" for asset, flow in sorted(flows.items()) if flow)


def _cycles(state: DecisionsCopy) -> Section:
    rows = [(one.strategy, one.bundle, one.number, one.venue, one.state, one.tx_hash or None) for one in state.onchain.cycles]
    return Section("cycles", "Transactions that are not final", ("strategy", "bundle", "order", "venue", "state", "tx_hash"), rows)


def _edges(assembly: Assembly) -> Iterator[tuple[Any, ...]]:
    engine = assembly.engine
    for number, strategy in enumerate(sorted(assembly.resolved.strategies)):
        for edge in engine.episodes.open_edges(number):
            yield strategy, edge.opportunity, bps(edge.edge_ppb), bps(edge.best_edge_ppb), moment_of(edge.opened_ts)


def _breakers(state: DecisionsCopy) -> Section:
    rows = [
        (one.account, one.venue, one.state, one.reason, moment_of(one.until) if one.until else None)
        for one in state.risk.breakers.breakers
        if one.state != "closed"
    ]
    return Section("breakers", "Breakers that are not closed", ("account", "venue", "state", "reason", "until"), rows)
