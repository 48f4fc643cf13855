"""Asset identity: which names on which venues are the same thing, as far as a table proves it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from xarb.errors import ConfigError
from xarb.model.units import parse_decimal


class Asset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One asset.

    `aliases` are other names that mean this asset on every venue; `venue_aliases` maps a venue to names that mean it there only.
    `multiples` maps a name to the number of units that one such name holds (`{"1000PEPE": "1000"}`). `addresses` maps an EIP-155
    chain id to a token address. A name that stands in no entry is unproven.
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    venue_aliases: dict[str, tuple[str, ...]] = {}
    multiples: dict[str, str] = {}
    addresses: dict[str, str] = {}


class Identity(msgspec.Struct, frozen=True):
    """What a venue's name was proven to be: an asset id, and how many of its units one named unit holds (digits, scale)."""

    asset: str
    multiple: tuple[int, int] = (1, 0)


class Proof(NamedTuple):
    """An identity and the table entry that proves it: "BTC", "BTC: alias XBT", "BTC: alias XXBT on kraken"."""

    identity: Identity
    entry: str


class AssetTable:
    """Looks names up; two instruments may be compared only when both names resolve to the same asset and multiple.

    Names are compared without regard to case. A venue's own alias goes before a general name.

    Raises:
        ConfigError: two entries claim the same name, or a multiple is not above zero.
    """

    def __init__(self, assets: Iterable[Asset]) -> None:
        self.assets = tuple(assets)
        self._names: dict[tuple[str | None, str], Proof] = {}
        for asset in self.assets:
            self._claim(None, asset.id, Proof(Identity(asset.id), asset.id))
            for name in asset.aliases:
                self._claim(None, name, Proof(Identity(asset.id), f"{asset.id}: alias {name}"))
            for venue, names in asset.venue_aliases.items():
                for name in names:
                    self._claim(venue, name, Proof(Identity(asset.id), f"{asset.id}: alias {name} on {venue}"))
            for name, multiple in asset.multiples.items():
                self._claim(None, name, Proof(_multiple(asset, name, multiple), f"{asset.id}: {name} holds {multiple}"))

    def _claim(self, venue: str | None, name: str, proof: Proof) -> None:
        before = self._names.setdefault((venue, name.upper()), proof)
        if before.identity != proof.identity:
            where = f" on {venue}" if venue else ""
            raise ConfigError(f"asset name {name!r}{where} is claimed by {before.identity.asset} and by {proof.identity.asset}")

    def identify(self, venue: str, name: str) -> Identity | None:
        """The proven identity of `name` on `venue`; None when no entry proves it."""
        proof = self.prove(venue, name)
        return None if proof is None else proof.identity

    def prove(self, venue: str, name: str) -> Proof | None:
        """The identity of `name` on `venue` with the entry that proves it; None when no entry does."""
        upper = name.upper()
        return self._names.get((venue, upper)) or self._names.get((None, upper))


def _multiple(asset: Asset, name: str, text: str) -> Identity:
    try:
        multiple = parse_decimal(text)
    except ValueError as error:
        raise ConfigError(f"asset {asset.id}: multiple {name!r}: {error}") from None
    if multiple[0] <= 0:
        raise ConfigError(f"asset {asset.id}: multiple {name!r} is {text}, it must be above zero")
    return Identity(asset.id, multiple)
