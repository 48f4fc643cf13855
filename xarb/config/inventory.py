"""Keys of an experiment file for where money should lie: `[inventory]`. `xarb.config` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from xarb.config.kinds import doc
from xarb.errors import ConfigError


class InventoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inventory]`: where an account's assets should lie (docs/inventory.md)."""

    band_bps: Annotated[
        Decimal, doc("how far a balance may lie from its target, of what the account has of the asset on all venues with a share")
    ] = Decimal(1000)
    adjust_worth: Annotated[
        Decimal,
        doc(
            "difference between an exchange's balance and ours that is booked when it is worth at most so much, in the first of "
            "`run.currencies` in which something prices the asset; a larger one stops new bundles (docs/inventory.md)"
        ),
    ] = Decimal(1)
    adjust_bps: Annotated[Decimal, doc("the same when it is at most so much of the balance, whatever that is worth")] = Decimal(1)
    foreign_worth: Annotated[
        Decimal,
        doc(
            "what fills of others on our accounts may come to in a UTC day, over restarts, in the first of `run.currencies` in which "
            "something prices their quote asset; beyond it new bundles stop (docs/orders.md); 0: at the first one"
        ),
    ] = Decimal(100)
    shares: Annotated[
        dict[str, dict[str, dict[str, Decimal]]],
        doc("as `[inventory.shares.ACCOUNT.VENUE]` `ASSET = share`: the targets; those of an asset add up to 1 over the venues"),
    ] = {}

    def by_asset(self) -> dict[tuple[str, str], dict[str, Decimal]]:
        """By account and asset the share of each venue."""
        found: dict[tuple[str, str], dict[str, Decimal]] = {}
        for account, venues in self.shares.items():
            for venue, shares in venues.items():
                for asset, share in shares.items():
                    found.setdefault((account, asset), {})[venue] = share
        return found


def check_shares(config: InventoryConfig, origin: str) -> None:
    """The shares of each asset add up to 1.

    Raises:
        ConfigError: some do not; the message names the keys.
    """
    for (account, asset), shares in config.by_asset().items():
        total = sum(shares.values())
        if total != 1:
            keys = ", ".join(f"inventory.shares.{account}.{venue}.{asset}" for venue in shares)
            raise ConfigError(f"{origin}: {keys} add up to {total:f}: allowed are shares that add up to 1")
