"""A moment as tables: why the strategy was called, instruments, book levels, free money and the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from xarb.engine.strategy import AtomicPlan, BundlePlan, Pass
from xarb.inquiry.moment import Moment, PoolSeen, Seen
from xarb.inquiry.sections import Section, amount, bps, millis, moment_of, scaled
from xarb.model.instrument import Instrument
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.financing import WAD, Loan

_FEEDS: Final = (
    "venue",
    "symbol",
    "state",
    "score",
    "tradable",
    "bid",
    "bid_qty",
    "ask",
    "ask_qty",
    "bid_seq",
    "ask_seq",
    "confirmed",
    "age_ms",
)
_LOANS: Final = ("venue", "token", "way", "lender", "premium_bps", "available")
_LEVELS: Final = ("venue", "symbol", "level", "bid", "bid_qty", "ask", "ask_qty")
_POOLS: Final = ("venue", "symbol", "base", "quote", "kind", "block", "state")


def moment_sections(key: str, title: str, moment: Moment) -> list[Section]:
    """The tables of a moment; `key` begins their keys in JSON."""
    rows: list[tuple[str, Any]] = [("time", moment_of(moment.ts)), ("last input", moment.after_seq)]
    if moment.wake is not None:
        rows.append(("called because of", moment.wake))
    if moment.edge is not None:
        rows.append(("edge, bps", f"{bps(moment.edge.edge_ppb)}, best {bps(moment.edge.best_edge_ppb)}"))
        rows.append(("open for, ms", millis(moment.ts - moment.edge.opened_ts)))
    rows += [("its open bundles", moment.open_bundles), ("its open opportunities", moment.edges)]
    plan = moment.plan
    if isinstance(plan, BundlePlan):
        rows += [("sequence", plan.sequence), ("expected profit after fees", f"{amount(plan.expected_profit)} {plan.profit_asset}")]
        if plan.inventory_cost:
            rows.append(("after inventory cost of", f"{amount(plan.inventory_cost)} {plan.profit_asset}"))
        rows.append(("planned edge, bps", bps(plan.edge_ppb)))
    elif isinstance(plan, AtomicPlan):
        rows += [("goes in, smallest units", plan.amount), ("paid for by", f"{plan.funding} {plan.lender}".rstrip())]
        rows += [("premium", plan.premium)] if plan.lender else []
        rows += [("least profit", plan.min_profit), ("expected net", plan.expected_net)]
    elif isinstance(plan, Pass):
        rows += [("passed on because of", plan.reason), ("asked", amount(plan.value)), ("allowed", amount(plan.bound))]
    sections = [
        Section(key, title, ("what", "value"), rows),
        feeds(f"{key}_instruments", f"{title}: instruments", moment.seen, moment.ts),
        levels(f"{key}_levels", f"{title}: levels", moment.seen),
        pools(f"{key}_pools", f"{title}: pools, as of the block", moment.seen),
        Section(
            f"{key}_free",
            f"{title}: free within account and budget",
            ("venue", "asset", "free"),
            [(venue, asset, amount(free)) for venue, asset, free in moment.free],
        ),
        Section(f"{key}_loans", f"{title}: who lends, as of the block", _LOANS, [_loan(*one) for one in moment.loans]),
    ]
    if isinstance(plan, BundlePlan):
        sections.append(
            Section(
                f"{key}_plan", "What the strategy asked for", ("venue", "symbol", "side", "price", "qty"), list(_legs(plan, moment))
            )
        )
    return sections


def _loan(venue: str, token: str, one: Loan) -> tuple[Any, ...]:
    premium = None if one.premium_wad is None else f"{one.premium_wad * 10_000 / WAD:g}"
    return (venue, token, one.way, one.lender, premium, one.available)


def feeds(key: str, title: str, seen: Sequence[Seen], ts: int) -> Section:
    """State and best quote of instruments at a time, ns."""
    return Section(key, title, _FEEDS, [_feed(one, ts) for one in seen])


def levels(key: str, title: str, seen: Sequence[Seen]) -> Section:
    """Their books, as many levels as were looked at."""
    return Section(key, title, _LEVELS, [row for one in seen for row in _levels(one)])


def pools(key: str, title: str, seen: Sequence[Seen]) -> Section:
    """Those of them that are pools, as of the newest complete block."""
    return Section(key, title, _POOLS, [_pool(one.instrument, one.pool) for one in seen if one.pool is not None])


def _pool(one: Instrument, pool: PoolSeen) -> tuple[Any, ...]:
    kind = state = None
    if isinstance(pool.maths, ConstantProduct):
        kind, state = "v2", f"reserves {pool.maths.reserve0} {pool.maths.reserve1}"
    elif pool.maths is not None:
        kind = "v3"
        state = f"sqrt_price_x96 {pool.maths.sqrt_price} tick {pool.maths.tick} liquidity {pool.maths.liquidity}"
    return (one.venue, one.symbol, one.base, one.quote, kind, pool.block, state)


def _feed(one: Seen, ts: int) -> tuple[Any, ...]:
    px, qty, quote = one.instrument.px_scale, one.instrument.qty_scale, one.quote
    sides = (scaled(quote.bid, px), scaled(quote.bid_qty, qty), scaled(quote.ask, px), scaled(quote.ask_qty, qty))
    feed = (one.feed.state, one.feed.score, one.feed.tradable)
    if one.pool is not None:  # it has no quote; how new it is, its block says
        return (one.instrument.venue, one.instrument.symbol, *feed, *(None,) * 8)
    return (
        one.instrument.venue,
        one.instrument.symbol,
        *feed,
        *sides,
        quote.bid_seq,
        quote.ask_seq,
        moment_of(quote.ts or None),
        millis(ts - quote.ts) if quote.ts else None,
    )


def _levels(one: Seen) -> Iterator[tuple[Any, ...]]:
    px, qty = one.instrument.px_scale, one.instrument.qty_scale
    for level in range(max(len(one.bids), len(one.asks))):
        cells: list[str | None] = []
        for side in (one.bids, one.asks):
            price, size = side[level] if level < len(side) else (None, None)
            cells += [scaled(price, px), scaled(size, qty)]
        yield (one.instrument.venue, one.instrument.symbol, level, *cells)


def _legs(plan: BundlePlan, moment: Moment) -> Iterator[tuple[Any, ...]]:
    known = {seen.number: seen.instrument for seen in moment.seen}
    for leg in plan.legs:
        one = known[leg.instrument]
        yield (one.venue, one.symbol, leg.side, scaled(leg.price_int, one.px_scale), scaled(leg.qty_int, one.qty_scale))
