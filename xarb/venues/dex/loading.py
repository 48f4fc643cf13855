"""The pools of a chain as instruments, before a feed begins."""

from __future__ import annotations

import asyncio
from typing import Final

from xarb.errors import ConfigError, Rejected, Retryable
from xarb.model.instrument import Instrument
from xarb.venues.dex.feed import ChainSource
from xarb.venues.dex.reading import Known, facts_of
from xarb.venues.dex.rpc import Rpc
from xarb.wires.chains import listing_of
from xarb.wires.node import BadAnswer, header_of, number_of

_TRIES: Final = 5
_PAUSE_S: Final = 1.0


async def load_pools(source: ChainSource, *, tries: int = _TRIES) -> list[Instrument]:
    """The pools of a chain as its first node that answers knows them.

    Raises:
        ConfigError: a pool is none, or not of an allowed factory; a node is of another chain.
        Retryable: no node answers, several times.
    """
    why = ""
    for left in range(tries - 1, -1, -1):
        for address in source.rpc:
            try:
                found = await _load(source, address)
            except (Retryable, Rejected, BadAnswer) as error:
                why = f"{source.venue}: {error}"
            else:
                origin = f"chain {source.chain_id}"
                return [listing_of(source.venue, one.pool, f"{origin}, {one.title}").instrument for one in found]
        if left:
            await asyncio.sleep(_PAUSE_S)
    raise Retryable(why, reason="unreachable")


async def _load(source: ChainSource, address: str) -> list[Known]:
    rpc = Rpc(address, _forget, source.policy.limits)
    try:
        await rpc.open()
        found = number_of(await rpc.call("eth_chainId"))
        if found != source.chain_id:
            raise ConfigError(f"{source.venue}: {rpc.shown} is of chain {found}, not {source.chain_id}")
        header = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
        return await facts_of(rpc, source.pools, source.factories, header)
    finally:
        await rpc.close()


def _forget(name: str, said: object) -> None:
    """Nothing is subscribed."""
    del name, said
