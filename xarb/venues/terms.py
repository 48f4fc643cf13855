"""What a simulated venue is assumed to be: latencies, limits, outages, and what it takes for sizes that nobody knows.

What a config key sets has its default in the config alone, a pessimistic one; what is optimistic must be asked for and is named by
`VenueModel.optimism`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE, PPB, Money, format_decimal

MAX_LATENCY_NS: Final = 3_600 * 10**9


class ConstantLatency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="constant", tag_field="kind"):
    """Always `ns`."""

    ns: int

    def __post_init__(self) -> None:
        _check_range("latency ns", self.ns, self.ns)

    @property
    def low_ns(self) -> int:
        """Smallest value."""
        return self.ns

    @property
    def high_ns(self) -> int:
        """Largest value: the model's stated maximum."""
        return self.ns

    def pick(self, draw: int) -> int:
        """The latency for a 64-bit draw."""
        del draw
        return self.ns

    def slower(self, ns: int) -> ConstantLatency:
        """The same with `ns` added."""
        return ConstantLatency(self.ns + ns)

    def __str__(self) -> str:
        return f"{_ms(self.ns)} ms"


class UniformLatency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="uniform", tag_field="kind"):
    """Every whole ns from `low_ns` to `high_ns` is equally likely."""

    low_ns: int
    high_ns: int

    def __post_init__(self) -> None:
        _check_range("latency low_ns, high_ns", self.low_ns, self.high_ns)

    def pick(self, draw: int) -> int:
        """The latency for a 64-bit draw."""
        return self.low_ns + draw % (self.high_ns - self.low_ns + 1)

    def slower(self, ns: int) -> UniformLatency:
        """The same with `ns` added."""
        return UniformLatency(self.low_ns + ns, self.high_ns + ns)

    def __str__(self) -> str:
        return f"{_ms(self.low_ns)} to {_ms(self.high_ns)} ms, uniform"


class TableLatency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="table", tag_field="kind"):
    """One of `values_ns` (ascending, as measured), each equally likely."""

    values_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values_ns:
            raise ConfigError("latency values_ns: a table needs at least one value")
        if any(later < earlier for earlier, later in pairwise(self.values_ns)):
            raise ConfigError("latency values_ns: the values of a table must ascend")
        _check_range("latency values_ns", self.values_ns[0], self.values_ns[-1])

    @property
    def low_ns(self) -> int:
        """Smallest value."""
        return self.values_ns[0]

    @property
    def high_ns(self) -> int:
        """Largest value: the model's stated maximum."""
        return self.values_ns[-1]

    def pick(self, draw: int) -> int:
        """The latency for a 64-bit draw."""
        return self.values_ns[draw % len(self.values_ns)]

    def slower(self, ns: int) -> TableLatency:
        """The same with `ns` added."""
        return TableLatency(tuple(value + ns for value in self.values_ns))

    def __str__(self) -> str:
        return f"{_ms(self.low_ns)} to {_ms(self.high_ns)} ms, {len(self.values_ns)} measured values"


Latency = ConstantLatency | UniformLatency | TableLatency


class Outage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commands that arrive in [from_ts, to_ts), ns of venue time, are refused; the market goes on."""

    from_ts: int
    to_ts: int

    def __post_init__(self) -> None:
        if self.to_ts <= self.from_ts:
            raise ConfigError(f"outage from_ts {self.from_ts}, to_ts {self.to_ts}: it must end after it begins")


class VenueModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated venue.

    feed_latency: from the venue to us, of each row, drawn by (seed, seq).
    order_latency: from the decision to the venue, of each order and of each cancel, drawn by (seed, order).
    response_latency: from the venue to us, of each order's reports; a draw below the feed latency's maximum is raised to it and counted.
    assumed_qty: base units (at 18 decimals) taken for sizes that the data does not give; None lets such levels refuse to fill.
    consumption: whether what we took stays subtracted from the book.
    rate_limit: orders a second and account, in a sliding window; None for no limit. A refused order counts as well; cancels do not.
    max_resting: resting orders an instrument.
    outages: in ascending order, without overlap.
    refusals: (reason, parts per billion of the orders), by reason: orders that the venue refuses for what is not simulated, drawn by
        (seed, order) among those that nothing else speaks against.
    fill_shares: parts per billion, ascending, each equally likely, drawn by (seed, order): how much an IOC or FOK order gets of what the
        shown book would fill of it; () for all of it.
    """

    feed_latency: Latency
    order_latency: Latency
    response_latency: Latency
    assumed_qty: Money | None
    rate_limit: int | None
    outages: tuple[Outage, ...]
    refusals: tuple[tuple[str, int], ...]
    fill_shares: tuple[int, ...]
    consumption: bool = True
    max_resting: int = 200

    def __post_init__(self) -> None:
        if self.assumed_qty is not None and self.assumed_qty <= 0:
            raise ConfigError(f"assumed_qty: {format_decimal(self.assumed_qty, MONEY_SCALE)} is not above zero")
        if self.rate_limit is not None and self.rate_limit < 1:
            raise ConfigError(f"rate_limit: {self.rate_limit} is not at least 1")
        if self.max_resting < 1:
            raise ConfigError(f"max_resting: {self.max_resting} is not at least 1")
        if any(later.from_ts < earlier.to_ts for earlier, later in pairwise(self.outages)):
            raise ConfigError("outages: they must ascend and not overlap")
        if any(ppb < 0 for _, ppb in self.refusals) or sum(ppb for _, ppb in self.refusals) > PPB:
            raise ConfigError("refusals: they are shares of all orders, together at most all of them")
        if any(later < earlier for earlier, later in pairwise((0, *self.fill_shares, PPB))):
            raise ConfigError("fill_shares: they must ascend and lie between nothing and all of it")

    def refused(self, draw: int) -> str | None:
        """For what an order is refused by a 64-bit draw, beside what is simulated; None for nothing."""
        place = draw % PPB
        for reason, ppb in self.refusals:
            if place < ppb:
                return reason
            place -= ppb
        return None

    def share(self, draw: int) -> int:
        """Parts per billion of what the shown book would fill that an order gets, by a 64-bit draw."""
        return self.fill_shares[draw % len(self.fill_shares)] if self.fill_shares else PPB

    def slower(self, ns: int) -> VenueModel:
        """The same venue with `ns` added to its order latency: a rung of the ladder."""
        return msgspec.structs.replace(self, order_latency=self.order_latency.slower(ns))

    def optimism(self) -> list[str]:
        """Settings that flatter the result, in words."""
        found = []
        if self.order_latency.low_ns == 0:
            found.append("an order may arrive at the moment of its decision")
        if self.assumed_qty is not None:
            found.append("unknown sizes fill")
        if not self.consumption:
            found.append("the book forgets what was taken")
        if self.rate_limit is None:
            found.append("no rate limit")
        return found


class VenueSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What all simulated venues of a run share.

    instruments: as the log numbers them.
    sources: which kind of row moves each instrument's book, as `engine.Setup.sources`: 0 quotes, 1 books, 2 deltas.
    fees: by (account, instrument number); an order without an entry is rejected `fee_unknown`.
    opening: balances by (account, venue, asset).
    rates: by (venue, fee coin, quote asset) the instrument of that venue whose bid prices the coin.
    seed: of every draw.
    """

    instruments: Sequence[Instrument]
    sources: Sequence[int]
    fees: Mapping[tuple[str, int], FeeTier]
    opening: Mapping[tuple[str, str, str], Money]
    rates: Mapping[tuple[str, str, str], int]
    seed: int


def check_setup(setup: VenueSetup, models: Mapping[str, VenueModel]) -> None:
    """Raise for what does not fit together.

    Raises:
        ConfigError: a venue without a model, a source missing, or a rate that is not the coin's price on that venue.
    """
    if len(setup.sources) != len(setup.instruments):
        raise ConfigError(f"sources: {len(setup.sources)} for {len(setup.instruments)} instruments")
    missing = sorted({i.venue for i in setup.instruments} - models.keys())
    if missing:
        raise ConfigError(f"venues: no model for {', '.join(missing)}")
    for (venue, coin, quote), number in setup.rates.items():
        if not 0 <= number < len(setup.instruments):
            raise ConfigError(f"rates: {coin}/{quote} on {venue} names instrument {number}, which does not exist")
        found = setup.instruments[number]
        if (found.venue, found.base, found.quote) != (venue, coin, quote):
            raise ConfigError(f"rates: {found.id} does not price {coin} in {quote} on {venue}")


def describe_model(venue: str, model: VenueModel) -> list[tuple[str, str, str]]:
    """The assumptions of one venue as (venue, what, value); optimistic ones have rows of their own, `what` is "optimistic"."""
    assumed = (
        "unknown sizes do not fill" if model.assumed_qty is None else f"{format_decimal(model.assumed_qty, MONEY_SCALE)} base units"
    )
    rows = [
        ("order latency", str(model.order_latency)),
        ("feed latency", str(model.feed_latency)),
        ("response latency", f"{model.response_latency}, at least {_ms(model.feed_latency.high_ns)} ms"),
        ("arrival", "meets the book as of its arrival: market first at equal time, no later row"),
        ("unknown sizes", assumed),
        (
            "own consumption",
            "stays subtracted until the level vanishes or trades refill it" if model.consumption else "forgotten at once",
        ),
        ("queue", "behind the size seen at arrival; advanced by trades, and by shrinkage below what was ahead"),
        ("fills", _shares(model.fill_shares)),
        ("refusals", ", ".join(f"{reason} {_part(ppb)}" for reason, ppb in model.refusals) or "none but for what is simulated"),
        ("rate limit", "none" if model.rate_limit is None else f"{model.rate_limit} orders a second and account"),
        ("outages", str(len(model.outages)) if model.outages else "none"),
    ]
    rows += [("optimistic", text) for text in model.optimism()]
    return [(venue, what, value) for what, value in rows]


def _shares(shares: tuple[int, ...]) -> str:
    if not shares:
        return "an order gets all that the book shows as it arrives"
    return f"IOC and FOK orders get {_part(shares[0])} to {_part(shares[-1])} of what the book shows, {len(shares)} measured shares"


def _part(ppb: int) -> str:
    return f"{format_decimal(ppb, 7)} %"


def _check_range(name: str, low: int, high: int) -> None:
    if not 0 <= low <= high <= MAX_LATENCY_NS:
        raise ConfigError(f"{name}: {low} to {high} is not an ascending range from 0 to {MAX_LATENCY_NS} ns")


def _ms(ns: int) -> str:
    return format_decimal(ns, 6)
