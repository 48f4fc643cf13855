"""Keys of an experiment file for chains: `[chains.NAME]` and the factories whose pools are allowed. `xarb.config` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from xarb.config.kinds import Count, doc
from xarb.errors import ConfigError

MOST_LOANS: Final = 64  # tokens of lenders of one chain; each takes some 80 µs of a local node at each block
_Ppm = Annotated[int, msgspec.Meta(ge=0, lt=10**6)]
_Address = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-fA-F]{40}\Z")]


class FactoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[chains.NAME.factories.EXCHANGE]`: a contract whose pools may be followed."""

    address: Annotated[_Address, doc("of the factory; pools that it does not know are refused")]
    kind: Annotated[Literal["v2", "v3"], doc("whose maths its pools obey: Uniswap v2, v3 or a fork of either")]
    fee_ppm: Annotated[
        _Ppm | None, doc("v2: what its pools take of an input, in millionths, which none of them tells (Uniswap: 3000)")
    ] = None


class AskedLenderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[chains.NAME.lenders.WHO]`: who is asked at each block what a loan costs and how much there is, for rows of `loans` (docs/dex.md)."""

    kind: Annotated[Literal["balancer", "flash", "aave"], doc("Balancer's vault, a v3 pool, or an Aave v3 pool")]
    address: Annotated[_Address, doc("its address")]
    tokens: Annotated[tuple[_Address, ...], doc("addresses of the tokens that may be borrowed of it")]


class ChainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[chains.NAME]`: an EVM chain as venue NAME, and the pools that are followed on it (docs/chains.md)."""

    chain_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1, description="EIP-155 chain id; a node of another chain is refused")]
    rpc: Annotated[
        tuple[str, ...],
        doc(
            "nodes, the preferred one first: ws:// or wss:// addresses, paths of socket files, or env:NAME of a variable that holds one"
        ),
    ]
    pools: Annotated[tuple[_Address, ...], doc("addresses of the pools")]
    factories: Annotated[dict[str, Any], doc("as `[chains.NAME.factories.EXCHANGE]`: whose pools are allowed")] = {}
    lenders: Annotated[
        dict[str, Any], doc("as `[chains.NAME.lenders.WHO]`: who is asked what a loan costs; none: nobody lends")
    ] = {}
    sending: Annotated[dict[str, Any], doc("as `[chains.NAME.sending]`: who sends transactions there, and how; none: nobody")] = {}
    pending: Annotated[bool, doc("record transactions before their inclusion, as the followed node tells them")] = False
    silent_ms: Annotated[Decimal, doc("no new block for so long: the node is asked whether it lives")] = Decimal(30_000)
    lag_blocks: Annotated[Count, doc("a node that is further behind another one is not followed")] = 3
    lag_ms: Annotated[Decimal, doc("for how long it may be")] = Decimal(5_000)
    disagree_ms: Annotated[Decimal, doc("nodes that name other blocks for so long disagree: the majority is believed")] = Decimal(
        5_000
    )
    history_blocks: Annotated[
        int, msgspec.Meta(ge=1, le=64, description="how deep a reorganisation is undone; a deeper one makes all pools be read anew")
    ] = 64
    reach_blocks: Annotated[Count, doc("how many missed blocks are filled in; after more all pools are read anew")] = 512
    refresh_ms: Annotated[
        Decimal, doc("interval at which one pool after the other is read again, so that drift shows; 0: never")
    ] = Decimal(60_000)
    message_mb: Annotated[
        int, msgspec.Meta(ge=1, le=1024, description="longest message of a node, in MiB; a longer one ends the connection")
    ] = 64


def check_lenders(lenders: dict[str, AskedLenderConfig], where: str) -> None:
    """What the lenders of a chain must be beside each other.

    Raises:
        ConfigError: one lends no token, is there twice, or there are too many; the message names it.
    """
    seen: set[tuple[str, str, str]] = set()
    for name, one in lenders.items():
        if not one.tokens:
            raise ConfigError(f"{where}.lenders.{name}.tokens is empty: nothing could be borrowed of it")
        for token in one.tokens:
            line = (one.kind, one.address.lower(), token.lower())
            if line in seen:
                raise ConfigError(f"{where}.lenders.{name}: {one.kind} {one.address} is asked twice for {token}")
            seen.add(line)
    if len(seen) > MOST_LOANS:
        raise ConfigError(
            f"{where}.lenders: {len(seen)} tokens of lenders are above {MOST_LOANS}, since each is asked for at each block"
        )


def check_chain(config: ChainConfig, factories: dict[str, FactoryConfig], where: str) -> None:
    """What a chain's keys must be beside each other.

    Raises:
        ConfigError: one contradicts another; the message names it.
    """
    for name in ("rpc", "pools"):
        if not getattr(config, name):
            raise ConfigError(f"{where}.{name} is empty")
    if len({pool.lower() for pool in config.pools}) < len(config.pools):
        raise ConfigError(f"{where}.pools: a pool stands there twice")
    if not factories:
        raise ConfigError(f"{where}: no [{where.partition(': ')[2]}.factories.EXCHANGE] says whose pools are allowed")
    for name, one in factories.items():
        if (one.kind == "v2") is (one.fee_ppm is None):
            why = "is missing: its pools do not tell it" if one.kind == "v2" else "is of no use: its pools tell it"
            raise ConfigError(f"{where}.factories.{name}.fee_ppm {why}")
