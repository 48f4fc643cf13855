"""Keys of an experiment file for cycles on chains: `[onchain.NAME]`. `xarb.config` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from xarb.config.kinds import Count, check_part, doc
from xarb.config.latency import LatencyConfig
from xarb.config.reader import Reader
from xarb.errors import ConfigError

Address = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-f]{40}\Z")]


class LenderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[onchain.NAME.lenders.WHO]`: what is assumed of a lender of whom a recording has no rows (`loans`); with rows of it, an error."""

    kind: Annotated[Literal["balancer", "flash", "aave"], doc("Balancer's vault, a v3 pool, or an Aave v3 pool")]
    address: Annotated[Address, doc("its address, lower case")]
    premium_ppm: Annotated[int, msgspec.Meta(ge=0, lt=10**6, description="what it takes of a loan, in millionths")]
    depth: Annotated[dict[str, Decimal], doc("by address of a token the most that it lends, in whole tokens")]


class SimulatedChainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[onchain.NAME.simulated]`: what is assumed of transactions where they are simulated."""

    latency: Annotated[LatencyConfig, doc("decision to the builders")] = LatencyConfig(uniform_ms=(Decimal(200), Decimal(600)))
    lag_ms: Annotated[Decimal, doc("a block takes in nothing that reached the builders later than so long before its row")] = (
        Decimal(1000)
    )
    receipt_ms: Annotated[Decimal, doc("row of a block, or arrival, to what we are told of a transaction")] = Decimal(500)
    missed_bps: Annotated[Decimal, doc("how likely a block leaves out a transaction for which it has room")] = Decimal(1000)
    taken_bps: Annotated[Decimal, doc("how likely somebody else is first, so that it reverts")] = Decimal(3000)
    finality_blocks: Annotated[Count, doc("blocks on top of its own after which a receipt is final")] = 12
    sees_own_swaps: Annotated[
        bool,
        doc(
            "strategies see pools as our swaps left them, and may earn by what others of the log do there after us; else the log's"
        ),
    ] = False


class OnChainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[onchain.NAME]`: cycles of pools on chain NAME, what they are paid with, and how they are simulated (docs/dex.md)."""

    native: Annotated[str, doc("asset that gas is paid in, as [accounts] name it; 18 decimals")] = "ETH"
    wrapped: Annotated[Address, doc("address of the token that is worth as much, lower case; there is no default")]
    coins: Annotated[
        dict[Address, str],
        doc(
            "by address of a token, lower case, the coin of exchanges that it counts as, by your word: no name proves it, and none is assumed, "
            "not even for the wrapped token (docs/dex.md)"
        ),
    ] = {}
    tip_gwei: Annotated[Decimal, doc("what a builder gets for each gas, as it is reckoned with")] = Decimal(1)
    max_fee_gwei: Annotated[Decimal, doc("most that is bid for each gas, whatever a cycle earns")] = Decimal(100)
    lenders: Annotated[dict[str, Any], doc("as `[onchain.NAME.lenders.WHO]`; none: who lends is what the log says")] = {}
    simulated: Annotated[dict[str, Any], doc("as `[onchain.NAME.simulated]`")] = {}


class OnChain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chain's section with those in it."""

    own: OnChainConfig
    lenders: dict[str, LenderConfig]
    simulated: SimulatedChainConfig


def onchain_section(reader: Reader, raw: dict[str, Any], name: str) -> OnChain:
    """An `[onchain.NAME]` table.

    Raises:
        ConfigError: as `Reader.section`, or one key contradicts another.
    """
    where = f"onchain.{name}"
    own = reader.section(raw, OnChainConfig, where)
    if own.tip_gwei > own.max_fee_gwei:
        raise ConfigError(f"{reader.place(where)}.tip_gwei is above max_fee_gwei")
    lenders = {who: reader.section(one, LenderConfig, f"{where}.lenders.{who}") for who, one in reader.table(raw, "lenders")}
    simulated = reader.section(own.simulated, SimulatedChainConfig, f"{where}.simulated")
    for key in ("missed_bps", "taken_bps"):
        check_part(getattr(simulated, key), f"{reader.place(where)}.simulated.{key}")
    return OnChain(own=msgspec.structs.replace(own, lenders={}, simulated={}), lenders=lenders, simulated=simulated)
