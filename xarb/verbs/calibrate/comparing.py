"""Backtests of a live start with and without a model, beside what really happened: how far each is from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from xarb.assembly import Assembly, Replay
from xarb.assembly.resolved import Resolved, decode_config
from xarb.log.reader import BATCH_ROWS, LogReader
from xarb.model.columns import INPUTS
from xarb.model.event import named
from xarb.model.units import MONEY_ONE, NANOS_PER_MS
from xarb.replay import Rows, replay
from xarb.starts import Span, ground_of, replay_of_start
from xarb.summary import Summary, summary_of
from xarb.verbs.calibrate.fitting import quantile
from xarb.verbs.calibrate.learning import Fit
from xarb.verbs.calibrate.orders import Trace

# What a start was told by exchanges and chains of its orders and money: a simulated venue says it in their place.
_ANSWERS: Final = ("reports", "balances", "transfers", "transactions", "receipts", "frames")
_HEARD: Final = tuple(kind for kind in INPUTS if kind not in _ANSWERS)
_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
Reached = Callable[[int], None]
Prices = Mapping[tuple[str, str], int]  # money, by base and quote asset


class Figure(NamedTuple):
    """One figure of a start: as it was, and as the two backtests have it; None where it is undefined."""

    name: str
    live: float | None
    without: float | None
    fitted: float | None

    @property
    def before(self) -> float | None:
        """How far the backtest without the model is from live."""
        return None if self.live is None or self.without is None else abs(self.without - self.live)

    @property
    def after(self) -> float | None:
        """How far that with the model is."""
        return None if self.live is None or self.fitted is None else abs(self.fitted - self.live)

    @property
    def moved(self) -> str | None:
        """closer, farther or same; None where a side is undefined."""
        if self.before is None or self.after is None:
            return None
        return "same" if self.before == self.after else "closer" if self.after < self.before else "farther"


class _Seen:
    """What is kept of one side's rows: when orders were sent and first heard of, how many were refused, what was traded, and what it changed.

    Args:
        summary: takes the rows, too.
        assets: base and quote asset of (venue, symbol).
    """

    def __init__(self, summary: Summary, assets: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        self._summary, self._assets = summary, assets
        self.flow: dict[str, int] = {}  # what its orders changed, by asset
        self.prices: dict[tuple[str, str], int] = {}  # of the last fill, by base and quote asset
        self._sent: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        self.bundles: set[int] = set()
        self.refused = self.fills = 0

    def take(self, rows: Rows) -> None:
        """The rows of a batch."""
        self._summary.take(rows)
        for row in rows:
            if row[0] == "commands":
                command = named(row)
                if command["kind"] == "submit":
                    self._sent[command["order"]] = command["ts"]
                    self.bundles.add(command["bundle"])
            elif row[0] == "sim_reports":
                report = named(row)
                self._heard.setdefault(report["order"], report["ts"])
            elif row[0] == "orders":
                self.refused += named(row)["state"] == "rejected"
            elif row[0] == "fills":
                fill = named(row)
                self.fills += 1
                self.prices[self._assets[fill["venue"], fill["symbol"]]] = fill["price"]
            elif row[0] == "ledger":
                change = named(row)
                if change["order"] is not None:
                    self.flow[change["asset"]] = self.flow.get(change["asset"], 0) + change["delta"]

    @property
    def waits(self) -> list[int]:
        """From decision to first word, ascending, ns."""
        return sorted(ts - self._sent[order] for order, ts in self._heard.items() if order in self._sent)


class _Side:
    """One side, decided again."""

    def __init__(self, again: Replay, reached: Reached) -> None:
        assembly = Assembly(again.resolved, again.ground)
        self._currencies = assembly.currencies
        self._summary = summary_of(assembly)
        self._seen = _Seen(self._summary, assembly.assets)
        replay(assembly, again.batches, self._seen.take, reached=reached)
        self._summary.finish()
        self.prices = self._seen.prices

    def figures(self, prices: Prices, waits: list[int] | None) -> dict[str, float | None]:
        """Its figures at these prices; `waits` from decision to first word, where they are not those of simulated venues."""
        seen = self._seen
        found: dict[str, float | None] = {}
        for currency in self._currencies:
            one = self._summary.figures(currency)
            found |= {
                "bundles": len(seen.bundles),
                "orders": one.orders,
                "orders refused": seen.refused,
                "fills": seen.fills,
                "fill ratio": one.fill_ratio,
                f"PnL at the last fills, {currency}": _worth(seen.flow, currency, prices),
                f"fees at the last fills, {currency}": _worth(one.fees, currency, prices),
                f"edge realised, bps of {currency}": one.edge_realised_bps,
            }
        waits = seen.waits if waits is None else waits
        for name, share in _QUANTILES:
            wait = quantile(waits, share)
            found[f"first word after, {name}, ms"] = None if wait is None else wait / NANOS_PER_MS
        return found


def compare(
    reader: LogReader, span: Span, orders: Collection[Trace], fits: Mapping[str, Fit], reached: Reached
) -> tuple[list[Figure], str | None]:
    """The figures of one start, or why there are none.

    Args:
        reader: the log.
        span: the start.
        orders: as they really went.
        fits: the model by venue.
        reached: told the last input that a replay has applied.

    Raises:
        ConfigError: its config was written by a version with other keys.
        LogError: a file was changed.
        Refused: inputs were pruned, or code of a strategy is not allowed.
    """
    resolved = decode_config(span.start.config)
    if resolved.onchain:
        return [], "it traded on chains, of which a model says nothing"
    venues = {name: fits[name].applied(one) if name in fits else one for name, one in resolved.venues.items()}
    modelled = msgspec.structs.replace(resolved, venues=venues)
    sides = [replay_of_start(reader, span, rows=BATCH_ROWS), *(_simulated(reader, span, one) for one in (resolved, modelled))]
    seen = [_Side(again, reached) for again in sides]
    prices = {**seen[2].prices, **seen[1].prices, **seen[0].prices}
    live, without, fitted = (one.figures(prices, _waits(orders) if one is seen[0] else None) for one in seen)
    return [Figure(name, live.get(name), without.get(name), fitted.get(name)) for name in live], None


def _simulated(reader: LogReader, span: Span, resolved: Resolved) -> Replay:
    """The start again on all that it heard but the exchanges' answers, with simulated venues; what earlier starts left open is left out."""
    ground = ground_of(span.start, reader.known_at(span.first), max(reader.connections, 1))
    ground = msgspec.structs.replace(ground, simulated=True, bundles=(), flows=(), foreign=(), cycles=(), transactions=())
    return Replay(resolved, ground, reader.batches(kinds=_HEARD, rows=BATCH_ROWS, select=span.selection))


def _worth(flow: Mapping[str, int], currency: str, prices: Prices) -> float | None:
    """What assets are worth in a currency; None where one of them has no price."""
    found = 0
    for asset, change in flow.items():
        price = MONEY_ONE if asset == currency else prices.get((asset, currency))
        if change and price is None:
            return None
        found += change * (price or 0)
    return found / MONEY_ONE**2


def _waits(orders: Collection[Trace]) -> list[int]:
    return sorted(one.heard - one.decided for one in orders if one.heard is not None and not one.is_asked)


__all__ = ["Figure", "compare"]
