"""The check of a config's chains: whether its nodes can be followed, and its pools and lenders are what the config takes them for."""

from __future__ import annotations

import time
from typing import NamedTuple

from xarb.config import Experiment
from xarb.console import Table
from xarb.errors import ConfigError, VenueError
from xarb.pools.financing import WAD
from xarb.process import run_loop
from xarb.sources import chain_sources
from xarb.venues.dex.feed import ChainSource
from xarb.venues.dex.lending import Lending
from xarb.venues.dex.reading import facts_of, states_of
from xarb.venues.dex.rpc import Rpc
from xarb.venues.dex.transfers import Verdict, verdicts_of
from xarb.wires.node import BadAnswer, Header, header_of, number_of


class ChainFindings(NamedTuple):
    """Tables to print, how many pools there are, and what forbids to follow them."""

    tables: list[Table]
    pools: int
    objections: list[str]


class _Seen(NamedTuple):
    """Rows of both tables, and objections."""

    nodes: list[tuple[str, ...]]
    pools: list[tuple[str, ...]]
    lenders: list[tuple[str, ...]]
    objections: list[str]


def check_chains(experiment: Experiment) -> ChainFindings:
    """Look at the nodes and pools of a config now.

    Raises:
        ConfigError: an address cannot be read.
    """
    seen = _Seen([], [], [], [])
    for source in chain_sources(experiment):
        run_loop(_look(source, seen))
    nodes = Table("Nodes", ("venue", "node", "software", "block", "age s", "round trip ms", "verdict"), tuple(seen.nodes))
    pools = Table("Pools", ("venue", "pool", "what", "block", "token0", "token1", "verdict"), tuple(seen.pools))
    lenders = Table("Lenders", ("venue", "lender", "token", "block", "premium", "available", "verdict"), tuple(seen.lenders))
    return ChainFindings([table for table in (nodes, pools, lenders) if table.rows], len(seen.pools), seen.objections)


async def _look(source: ChainSource, seen: _Seen) -> None:
    """All nodes, and the pools by the first one that is good."""
    is_read = False
    for address in source.rpc:
        rpc = Rpc(address, _forget, source.policy.limits)
        try:
            await rpc.open()
            header = await _look_at_node(source, rpc, seen)
            if header is not None and not is_read:
                await _look_at_pools(source, rpc, header, seen)
                await _look_at_lenders(source, rpc, header, seen)
                is_read = True
        except (VenueError, BadAnswer) as error:
            seen.nodes.append((source.venue, rpc.shown, "-", "-", "-", "-", str(error)[:200]))
            seen.objections.append(f"{source.venue}: {rpc.shown}: {error}"[:300])
        except ConfigError as error:
            is_read = True  # another node says the same
            seen.objections.append(f"{source.venue}: {error}")
        finally:
            await rpc.close()
    if not is_read:
        seen.objections.append(f"{source.venue}: no node can be followed")


async def _look_at_node(source: ChainSource, rpc: Rpc, seen: _Seen) -> Header | None:
    """Its row; the latest block of one that can be followed."""
    began = time.monotonic()
    chain_id = number_of(await rpc.call("eth_chainId"))
    trip_ms = (time.monotonic() - began) * 1000
    header = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
    why = ""
    if chain_id != source.chain_id:
        why = f"of chain {chain_id}, not {source.chain_id}"
    elif await rpc.call("eth_syncing") is not False:
        why = "still catching up"
    software = str(await rpc.call("web3_clientVersion"))[:40]
    age = f"{time.time() - header.timestamp_s:.0f}"
    seen.nodes.append((source.venue, rpc.shown, software, f"{header.number}", age, f"{trip_ms:.1f}", why or "can be followed"))
    if why:
        seen.objections.append(f"{source.venue}: {rpc.shown} is {why}")
    return None if why else header


async def _look_at_pools(source: ChainSource, rpc: Rpc, header: Header, seen: _Seen) -> None:
    known = await facts_of(rpc, source.pools, source.factories, header)
    pools = [one.pool for one in known]
    await states_of(rpc, pools, header)
    verdicts = await verdicts_of(rpc, pools, header)
    for pool, title in known:
        tokens = [verdicts[pool.address, token] for token in (pool.token0, pool.token1)]
        bad = [
            f"token {token}: {one.why}"
            for token, one in zip((pool.token0, pool.token1), tokens, strict=True)
            if one.is_exact is False
        ]
        verdict = "refused" if bad else "can be followed"
        seen.pools.append((source.venue, pool.address, title, f"{header.number}", *map(_said, tokens), verdict))
        seen.objections.extend(f"{source.venue}: pool {pool.address}: {why}" for why in bad)


async def _look_at_lenders(source: ChainSource, rpc: Rpc, header: Header, seen: _Seen) -> None:
    """What each takes and has now; one that does not say it would never be borrowed of."""
    lending = Lending(source.lenders)
    await lending.begin(rpc, header)
    for loan, token, why in lending.latest():
        who = f"{loan.way} {loan.lender}"
        if loan.premium_wad is None or loan.available is None:
            seen.lenders.append((source.venue, who, token, f"{header.number}", "-", "-", why[:200]))
            seen.objections.append(f"{source.venue}: {who} does not say what it lends of {token}: {why}"[:300])
            continue
        premium, verdict = f"{loan.premium_wad * 100 / WAD:g} %", "lends" if loan.available else "lends none of it"
        seen.lenders.append((source.venue, who, token, f"{header.number}", premium, f"{loan.available}", verdict))


def _said(verdict: Verdict) -> str:
    return "exact" if verdict.is_exact else verdict.why


def _forget(name: str, said: object) -> None:
    """Nothing is subscribed."""
    del name, said
