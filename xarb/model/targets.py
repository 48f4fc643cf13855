"""Where an asset should lie: each venue's share of what an account has of it, and how far from there it lies.

Shares, not amounts, so that the targets of all venues add up to what there is, whatever trading gained or lost of the asset: whatever one
venue has too much others have too little, and transfers between them are enough to reach the targets.
"""

from __future__ import annotations

from collections.abc import Mapping

from xarb.model.units import MONEY_ONE, PPB

Shares = Mapping[str, int]  # by venue, at 18 decimals; they add up to one


def targets(total: int, shares: Shares) -> dict[str, int]:
    """By venue the amount that should lie there of `total`, rounded down."""
    return {venue: total * share // MONEY_ONE for venue, share in shares.items()}


def drifts(balances: Mapping[str, int], shares: Shares) -> dict[str, int]:
    """By venue the balance less its target: positive where there is too much. Venues without a share are left alone and out of the total.

    Args:
        balances: by venue, money; a venue that is missing has none.
        shares: by venue.
    """
    held = {venue: balances.get(venue, 0) for venue in shares}
    wanted = targets(sum(held.values()), shares)
    return {venue: held[venue] - wanted[venue] for venue in shares}


def band_of(total: int, band_ppb: int) -> int:
    """How far a balance may lie from its target, money."""
    return max(total, 0) * band_ppb // PPB
