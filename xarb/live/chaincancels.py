"""What a kill does on chains without the process that traded: which transactions may live by the word of a log, and what became of them.

Nothing leaves before a file in the log's folder says so, since the log itself may be held by a process that stands still. Once the log can be
written its `transactions` rows have what the file has, and the file goes; a start takes in first what a kill could not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from xarb.config import Experiment
from xarb.errors import LogError, Retryable
from xarb.live.chains import Connection, fees_of, permits_of
from xarb.log.committer import Policy
from xarb.log.ends import CANCELS_FILE
from xarb.log.reader import LogReader
from xarb.upkeep import open_log
from xarb.venues.clock import Clock
from xarb.venues.dex.killing import Terms, kill, may_be_included
from xarb.venues.dex.nonces import KIND, Nonces, rebuilt
from xarb.venues.dex.outgoing import Access
from xarb.venues.keys import Redactor
from xarb.venues.venue import VenueRow
from xarb.venues.wallets import Wallet, open_wallet
from xarb.wires.rows import RowBuilder

Place = tuple[str, int, str]  # venue, chain id, address
Rows = Sequence[Mapping[str, Any]]  # of `transactions`
_NOBODY: Final = "-"
_UNCOMPARED: Final = "not compared"  # the next start asks chains for what wallets hold


def wallets_of(experiment: Experiment, environment: Mapping[str, str] | None = None) -> dict[str, Wallet]:
    """The wallets that sign for the chains of a config, by chain.

    Raises:
        ConfigError: one cannot be opened.
    """
    where = os.environ if environment is None else environment
    return {name: open_wallet(one.wallet, where) for name, one in experiment.sending.items()}


def places_of(rows: Rows) -> dict[Place, Nonces]:
    """Nonces of every address of a log.

    Raises:
        InvariantBroken: rows do not follow on each other.
    """
    places: dict[Place, None] = dict.fromkeys((row["venue"], row["chain_id"], row["address"]) for row in rows)
    return {place: rebuilt(Nonces(*place), rows) for place in places}


def alive(rows: Rows) -> list[str]:
    """What may still be included by the word of a log, in words."""
    return [f"{tx_hash} on {venue}" for (venue, _, _), one in places_of(rows).items() for tx_hash in may_be_included(one)]


async def cancel_on_chains(
    experiment: Experiment, rows: Rows, wallets: Mapping[str, Wallet], *, folder: Path, unread: str | None
) -> list[tuple[str, ...]]:
    """A row of `canceling.HEADS` for each chain on which the config sends, and for addresses of the log that it does not have.

    Args:
        experiment: names chains and nodes.
        rows: of the log, in order.
        wallets: by chain.
        folder: of the log.
        unread: why `rows` may lack some; None where they do not.
    """
    mine: dict[Place, str] = {
        (name, experiment.chains[name].chain_id, wallets[name].address.lower()): one.account
        for name, one in experiment.sending.items()
    }
    known = places_of(rows)
    found = await asyncio.gather(
        *(_cancel_at(experiment, place, known.get(place), wallets, folder, unread) for place in mine), return_exceptions=True
    )
    said = [_row(mine[place], place, one) for place, one in zip(mine, found, strict=True)]
    for place, nonces in known.items():
        if place not in mine and (left := may_be_included(nonces)):
            why = f"{', '.join(left)} of {place[2]}: {experiment.origin} has no such address there"
            said.append((_NOBODY, place[0], "-", why, "-", "-", "-", _UNCOMPARED))
    return said


def _row(account: str, place: Place, found: tuple[str, ...] | BaseException) -> tuple[str, ...]:
    """What was done there; whatever else was raised, even by a bug of ours, keeps no other from being dealt with."""
    if isinstance(found, tuple):
        return (account, place[0], *found)
    if not isinstance(found, Exception):
        raise found
    return (account, place[0], "-", f"not known: {Redactor()(f'{type(found).__name__}: {found}')}", "-", "-", "-", _UNCOMPARED)


async def _cancel_at(
    experiment: Experiment, place: Place, nonces: Nonces | None, wallets: Mapping[str, Wallet], folder: Path, unread: str | None
) -> tuple[str, ...]:
    chain, sending = experiment.chains[place[0]], experiment.sending[place[0]]
    terms = Terms(
        account=sending.account,
        permits=permits_of(chain, sending),
        fees=fees_of(sending),
        wait_blocks=sending.wait_blocks,
        unread=unread,
    )
    node = Connection(chain.rpc)
    try:
        access = Access(wallets[place[0]], node, None)
        done = await kill(terms, access, nonces or Nonces(*place), _spooling(folder))
    finally:
        await node.close()
    words = (", ".join(done.canceled), "; ".join(done.unproven), f"{done.foreign}")
    return tuple(word or "-" for word in (*words, "; ".join(done.failures), ", ".join(done.ended), _UNCOMPARED))


# --- what left, until the log has it


def _spooling(folder: Path) -> Callable[[Sequence[VenueRow]], None]:
    """Takes rows of transactions and returns once a file beside the log holds them, whatever becomes of this process.

    What it returns raises Retryable where the disk does not take them: then nothing leaves.
    """
    path = folder / CANCELS_FILE

    def keep(rows: Sequence[VenueRow]) -> None:
        data = b"".join(msgspec.json.encode(dict(row.values)) + b"\n" for row in rows)
        try:
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Retryable(f"{path}: {error.strerror}: nothing leaves that is not noted", reason="disk") from None

    return keep


def take_in(folder: Path) -> int:
    """Put into a log that nobody writes what kills sent to chains without it; how many rows those were.

    Raises:
        LogError: a process has the log, or it is damaged; the file stays.
    """
    path = folder / CANCELS_FILE
    if not path.exists():
        return 0
    found = list(_whole(path))
    opened = open_log(folder, "", Policy())
    log = opened.log
    with log:
        with LogReader(folder, found=opened.sealed) as reader:  # who took them in before may have died before the file was gone
            known = {(row["event"], row["nonce"], row["tx_hash"]) for row in reader.rows(KIND)}
        found = [one for one in found if (one["event"], one["nonce"], one["tx_hash"]) not in known]
        builder, clock = RowBuilder(log.last + 1, log.last_ts), Clock(log.last_ts)
        for values in found:
            builder.put_named(KIND, clock.now(), values)
        if found:
            log.append(builder.take())
            log.sync()
    path.unlink()
    return len(found)


def _whole(path: Path) -> Iterable[Mapping[str, Any]]:
    """The lines of a file; one that was torn while it was written is none, and nothing of it has left.

    Raises:
        LogError: another one cannot be read.
    """
    *lines, torn = path.read_bytes().split(b"\n")
    del torn
    for number, line in enumerate(lines, 1):
        try:
            yield msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise LogError(f"{path}: line {number} cannot be read: {error}") from None
