"""Which instruments are the same thing, and which of them a strategy compares: proven by the asset table, refused by name otherwise.

Rules, in the order in which they are asked of two instruments whose base names resolve to the same asset:

1. `identity_unproven`: a base or quote name stands in no entry of the table. Such an instrument is never compared.
2. `same_venue`: two instruments of one venue are not a cross-venue pair.
3. `kind_differs`, `contract_differs`, `expiry_differs`: a perpetual is not spot, an inverse contract is not a linear one.
4. `multiple_differs`: one name holds 1,000 units, the other one.
5. `fee_unknown`: no fee tier for the account on one of the venues.
6. Same quote asset: a pair. Different ones: a pair through a conversion instrument; without one a premium where pegs of both
   quote assets are stated, else `no_conversion`.

A conversion instrument is an active spot instrument with known steps between exactly the two quote assets, on a venue that the
strategy may use and whose fee is known. Of several, one on the sell venue is taken, else one on the buy venue, else one elsewhere;
among these the first by id (`symbol@venue`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import msgspec

from xarb.engine.strategy import Pair
from xarb.model.asset import AssetTable, Proof
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import INT64_MAX


class Named(NamedTuple):
    """What an instrument's names were proven to be; None where no entry proves it."""

    number: int
    instrument: Instrument
    base: Proof | None
    quote: Proof | None

    @property
    def unproven(self) -> str | None:
        """The first name without proof, None when both are proven."""
        if self.base is None:
            return self.instrument.base
        return self.instrument.quote if self.quote is None else None


class Unpaired(NamedTuple):
    """A candidate that is not compared: its instruments (the second is None where the first alone is the reason), and why."""

    first: int
    second: int | None
    reason: str
    detail: str


class PairTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy compares, and from which edge on.

    `venues` and `symbols` empty mean all; `symbols` does not bind the conversion leg. `fees` are the tiers of the strategy's account by
    instrument number, None where unknown. `pegs` state what one unit of an asset is worth in a unit common to all of them; they serve
    reports only. `open_ppb` and `close_ppb` are edges after taker fees.
    """

    fees: Sequence[FeeTier | None]
    pegs: Mapping[str, Fraction]
    venues: tuple[str, ...]
    symbols: tuple[str, ...]
    open_ppb: int
    close_ppb: int


class Pairing(NamedTuple):
    """Directed pairs in order of (sell, buy), and what was not paired, each with its reason."""

    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]


def prove_names(instruments: Sequence[Instrument], assets: AssetTable) -> list[Named]:
    """The proven identities of every instrument's base and quote name, by number."""
    return [
        Named(number, one, assets.prove(one.venue, one.base), assets.prove(one.venue, one.quote))
        for number, one in enumerate(instruments)
    ]


def same_things(names: Sequence[Named]) -> list[list[int]]:
    """Groups of at least two instruments that are the same thing on different venues, in order of their first member.

    The same thing: kind, contract, expiry, base asset and multiple, quote asset and multiple are equal. Their mids may be compared.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for name in names:
        if name.base is None or name.quote is None:
            continue
        one = name.instrument
        key = (
            one.kind,
            one.contract,
            one.expiry,
            *msgspec.structs.astuple(name.base.identity),
            *msgspec.structs.astuple(name.quote.identity),
        )
        groups.setdefault(key, []).append(name.number)
    return [group for group in groups.values() if len(group) > 1]


def identities(names: Sequence[Named]) -> dict[tuple[str, str], str]:
    """What the name of an asset was proven to be, by (venue, name); a name that stands in no entry is left out."""
    found = {}
    for name in names:
        one = name.instrument
        for asset, proof in ((one.base, name.base), (one.quote, name.quote)):
            if proof is not None:
                digits, scale = proof.identity.multiple
                found[one.venue, asset] = (
                    proof.identity.asset if (digits, scale) == (1, 0) else f"{digits}e-{scale} {proof.identity.asset}"
                )
    return found


def make_pairs(names: Sequence[Named], terms: PairTerms) -> Pairing:
    """The directed pairs that a strategy of these terms compares, and for every candidate that is not paired the reason."""
    chosen = [name for name in names if _is_chosen(name.instrument, terms)]
    pairs: list[Pair] = []
    unpaired = [
        Unpaired(name.number, None, "identity_unproven", f"{name.unproven} on {name.instrument.venue} stands in no asset entry")
        for name in chosen
        if name.unproven is not None
    ]
    for first, second in combinations([name for name in chosen if name.unproven is None], 2):
        if _asset(first.base) != _asset(second.base):
            continue
        why = _differ(first, second) or _no_fee((first, second), terms)
        if why is not None:
            unpaired.append(Unpaired(first.number, second.number, *why))
            continue
        made = [_pair(sell, buy, names, terms) for sell, buy in ((first, second), (second, first))]
        for pair in made:
            if pair is not None:
                pairs.append(pair)
        if None in made:
            detail = f"no tradable spot instrument and no pegs between {_asset(first.quote)} and {_asset(second.quote)}"
            unpaired.append(Unpaired(first.number, second.number, "no_conversion", detail))
    return Pairing(tuple(sorted(pairs)), tuple(unpaired))


def _asset(proof: Proof | None) -> str | None:
    return None if proof is None else proof.identity.asset


def _is_chosen(one: Instrument, terms: PairTerms) -> bool:
    return (not terms.venues or one.venue in terms.venues) and (not terms.symbols or one.symbol in terms.symbols)


def _differ(first: Named, second: Named) -> tuple[str, str] | None:
    """The rule that keeps two instruments of one base asset apart, with its detail."""
    a, b = first.instrument, second.instrument
    if a.venue == b.venue:
        return "same_venue", f"{a.symbol} and {b.symbol} are both on {a.venue}"
    for field in ("kind", "contract", "expiry"):
        left, right = getattr(a, field), getattr(b, field)
        if left != right:
            return f"{field}_differs", f"{a.id} is {left}, {b.id} is {right}"
    assert first.base is not None
    assert second.base is not None
    assert first.quote is not None
    assert second.quote is not None
    for left_proof, right_proof in ((first.base, second.base), (first.quote, second.quote)):
        left_one, right_one = left_proof.identity, right_proof.identity
        if left_one.asset == right_one.asset and left_one.multiple != right_one.multiple:
            return "multiple_differs", f"{left_proof.entry}; {right_proof.entry}"
    return None


def _no_fee(sides: tuple[Named, Named], terms: PairTerms) -> tuple[str, str] | None:
    for name in sides:
        if terms.fees[name.number] is None:
            return "fee_unknown", f"no fee tier on {name.instrument.venue}"
    return None


def _pair(sell: Named, buy: Named, names: Sequence[Named], terms: PairTerms) -> Pair | None:
    """The directed pair, None where the quote assets differ and nothing turns one into the other."""
    sell_fee, buy_fee = terms.fees[sell.number], terms.fees[buy.number]
    assert sell_fee is not None
    assert buy_fee is not None
    plain = Pair(sell.number, buy.number, terms.open_ppb, terms.close_ppb, sell_fee.taker_ppb, buy_fee.taker_ppb)
    if _asset(sell.quote) == _asset(buy.quote):
        return plain
    if sell.instrument.kind == "spot":
        found = _conversion(sell, buy, names, terms)
        if found is not None:
            number, side, fee = found
            return plain._replace(convert=number, convert_side=side, convert_fee_ppb=fee)
    left, right = (terms.pegs.get(_asset(name.quote) or "") for name in (sell, buy))
    if not left or not right:
        return None
    ratio = left / right
    if max(ratio.numerator, ratio.denominator) > INT64_MAX:
        return None
    return plain._replace(peg_left=ratio.numerator, peg_right=ratio.denominator, premium=True)


def _conversion(sell: Named, buy: Named, names: Sequence[Named], terms: PairTerms) -> tuple[int, str, int] | None:
    """(number, side, taker fee) of the conversion instrument by the rule at the top of this page."""
    found = []
    for name in names:
        one, fee = name.instrument, terms.fees[name.number]
        if fee is None or one.untradable_because() is not None or (terms.venues and one.venue not in terms.venues):
            continue
        if name.base is None or name.quote is None or sell.quote is None or buy.quote is None:
            continue
        ends = (name.base.identity, name.quote.identity)
        if ends == (sell.quote.identity, buy.quote.identity):
            side = "bid"
        elif ends == (buy.quote.identity, sell.quote.identity):
            side = "ask"
        else:
            continue
        near = 0 if one.venue == sell.instrument.venue else 1 if one.venue == buy.instrument.venue else 2
        found.append((near, one.id, name.number, side, fee.taker_ppb))
    return min(found)[2:] if found else None
