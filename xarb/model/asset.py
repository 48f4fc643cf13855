"""Asset identity: which names on which venues are the same thing, as far as a table proves it."""

from __future__ import annotations

from collections.abc import Iterable

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


class AssetTable:
    """Looks names up; two instruments may be compared only when both names resolve to the same asset and multiple.

    Raises:
        ConfigError: two entries claim the same name.
    """

    def __init__(self, assets: Iterable[Asset]) -> None:
        self.assets = tuple(assets)
        self._names: dict[tuple[str | None, str], Identity] = {}
        for asset in self.assets:
            for name in (asset.id, *asset.aliases):
                self._claim(None, name, Identity(asset.id))
            for venue, names in asset.venue_aliases.items():
                for name in names:
                    self._claim(venue, name, Identity(asset.id))
            for name, multiple in asset.multiples.items():
                self._claim(None, name, Identity(asset.id, parse_decimal(multiple)))

    def _claim(self, venue: str | None, name: str, identity: Identity) -> None:
        key = (venue, name.upper())
        before = self._names.setdefault(key, identity)
        if before != identity:
            where = f" on {venue}" if venue else ""
            raise ConfigError(f"asset name {name!r}{where} is claimed by {before.asset} and by {identity.asset}")

    def identify(self, venue: str, name: str) -> Identity | None:
        """The proven identity of `name` on `venue`; None when no entry proves it."""
        upper = name.upper()
        return self._names.get((venue, upper)) or self._names.get((None, upper))
