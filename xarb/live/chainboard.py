"""What a person sees of the chains of a session: their latest blocks and pools, and who sends there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xarb.assembly import Assembly
from xarb.console import Table
from xarb.model.units import NANOS_PER_S, format_decimal
from xarb.venues.dex.desk import ChainDesk
from xarb.venues.dex.venue import ChainVenue

_COLUMNS: Final = ("chain", "block", "age s", "base fee gwei", "pools", "address", "next nonce", "waiting", "objections")
_NOBODY: Final = ("-",) * 4


def chain_table(assembly: Assembly, sent: Mapping[str, ChainVenue], now: int) -> Table:
    """A row a chain.

    Args:
        assembly: what follows them.
        sent: by chain, where transactions are sent for real.
        now: present time, ns.
    """
    engine, rows = assembly.engine, []
    for venue in sorted(assembly.resolved.onchain):
        followed = engine.chains
        pools = [number for number, one in enumerate(engine.instruments) if one.venue == venue and followed.is_pool(number)]
        live = f"{sum(followed.feed(number).tradable for number in pools)} of {len(pools)}"
        head, block = ("-", "-", "-"), followed.block(venue)
        if block is not None:
            fee = "-" if block.base_fee_wei is None else format_decimal(block.base_fee_wei, 9)
            head = (f"{block.number}", f"{(now - followed.heard(venue)) / NANOS_PER_S:.1f}", fee)
        rows.append((venue, *head, live, *(_sender(sent[venue].desk) if venue in sent else _NOBODY)))
    return Table("Chains", _COLUMNS, tuple(rows))


def _sender(desk: ChainDesk) -> tuple[str, str, str, str]:
    nonces = desk.nonces
    following = "-" if nonces.next is None else f"{nonces.next}"
    return (nonces.address, following, f"{len(desk.waiting)}", "; ".join(desk.objections) or "none")
