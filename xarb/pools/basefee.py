"""How the base fee goes from block to block, by EIP-1559."""

from __future__ import annotations

from typing import Final

_ELASTICITY: Final = 2  # a block aims at its limit over this
_STEP: Final = 8  # from block to block the base fee changes by an eighth at most


def highest_next(base_fee_wei: int) -> int:
    """The base fee after a full block."""
    return base_fee_wei + max(base_fee_wei // _STEP, 1)


def next_base_fee(base_fee_wei: int, gas_used: int, gas_limit: int) -> int:
    """The base fee of the block that follows one with this fee and gas."""
    target = gas_limit // _ELASTICITY
    if gas_used == target:
        return base_fee_wei
    change = base_fee_wei * abs(gas_used - target) // target // _STEP
    return base_fee_wei + max(change, 1) if gas_used > target else base_fee_wei - change
