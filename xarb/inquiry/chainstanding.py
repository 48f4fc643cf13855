"""How chains and those who send there stand, by the last rows of a log: blocks and fees, pools, nodes, nonces, transactions that wait, and objections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.sections import Section, millis, moment_of
from xarb.model.units import NANOS_PER_MS
from xarb.pools.basefee import next_base_fee
from xarb.sql.connection import Query
from xarb.sql.pick import Condition, latest, pick, summed, tally, tally_latest
from xarb.venues.dex.nonces import OBJECTIONS

_FOLLOWED: Final = "rpc_followed"
_ENDED: Final = ("final", "replaced", "dropped", "not_sent", "mined")
_NO_TRANSACTION: Final = ("adopted", "refused", "halted")
_SENDERS: Final = ("chain", "account", "address", "next_nonce", "waiting", "gas_spent_wei", "halted")
_WAITING: Final = (
    *("chain", "address", "nonce", "tx_hash", "order", "purpose", "channel", "event", "since", "age_ms"),
    *("max_fee_wei", "tip_wei"),
)
Row = dict[str, Any]


class Seen(NamedTuple):
    """The last start of a log as of now, ns: what its inputs and its outputs meet, and its chains."""

    query: Query
    since: Condition
    after: Condition
    now: int
    venues: Sequence[str]


def chain_sections(seen: Seen, troubles: list[str]) -> list[Section]:
    """Tables of chains and of who sends there; why something is not as it should be is added to `troubles`.

    Raises:
        LogError: a file of the log is damaged.
    """
    if not seen.venues:
        return []
    return [_chains(seen, troubles), *_senders(seen, troubles)]


def cycle_counts(seen: Seen) -> list[tuple[Any, ...]]:
    """Cycles by their last states."""
    states: dict[str, int] = dict(tally_latest(seen.query, "cycle_states", ("order",), "state", seen.after))
    return [("cycles", *one) for one in sorted(states.items())]


def _chains(seen: Seen, troubles: list[str]) -> Section:
    heads = {row["venue"]: row for row in latest(seen.query, "blocks", ("venue",), seen.since, ("event", "=", "added"))}
    removed = dict(tally(seen.query, "blocks", ("venue",), seen.since, ("event", "=", "removed")))
    said = {(row["metric"], row["venue"]): row for row in latest(seen.query, "health", ("venue", "metric"), seen.since)}
    pools: defaultdict[str, list[Row]] = defaultdict(list)
    for row in latest(seen.query, "feed_states", ("venue", "symbol"), seen.after):
        pools[row["venue"]].append(row)
    rows = []
    for venue in seen.venues:
        mine, head = pools[venue], heads.get(venue)
        troubles += [f"pool {row['symbol']}@{venue} is {row['state']}" for row in mine if not row["tradable"]]
        if head is None:
            troubles.append(f"no block of {venue} came")
        objections, followed = said.get((OBJECTIONS, venue)), said.get((_FOLLOWED, venue))
        against = objections["detail"] if objections is not None and objections["value"] else None
        if against is not None:
            troubles.append(f"nothing is sent on {venue}: {against}")
        state = f"{sum(row['tradable'] for row in mine)} of {len(mine)}"
        rows.append((venue, *_head(head, seen.now), removed.get(venue, 0), state, followed and followed["detail"], against))
    columns = ("chain", "block", "age_ms", "base_fee_wei", "next_base_fee_wei", "removed", "pools_tradable", "node", "objections")
    return Section("chains", "Chains as of their latest blocks", columns, rows)


def _head(row: Row | None, now: int) -> tuple[Any, ...]:
    """Its number, how long ago it came, its base fee and that of the block after it."""
    if row is None:
        return (None,) * 4
    age = millis(max(now - row["ts_recv"], 0) // NANOS_PER_MS * NANOS_PER_MS)
    fee = row["base_fee_wei"]
    after = None if fee is None else str(next_base_fee(int(fee), row["gas_used"], row["gas_limit"]))
    return (row["block_number"], age, fee, after)


def _senders(seen: Seen, troubles: list[str]) -> list[Section]:
    """Nonces, gas and what waits, over all starts: a transaction of an earlier one may still be included."""
    rows = latest(seen.query, "transactions", ("venue", "address", "nonce", "tx_hash"))
    halts = pick(seen.query, "transactions", seen.since, ("event", "=", "halted"))  # of this start: one ends with it
    halted = {(row["venue"], row["address"]): row["reason"] for row in halts}
    spent: defaultdict[tuple[str, str], int] = defaultdict(int)
    for account, venue, total in summed(seen.query, "ledger", ("account", "venue"), "delta", seen.after, ("cause", "=", "gas")):
        spent[account, venue] -= total
    senders: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["venue"] in seen.venues:
            senders.setdefault((row["venue"], row["address"]), []).append(row)
    shown: list[tuple[Any, ...]] = []
    waiting: list[tuple[Any, ...]] = []
    for (venue, address), mine in senders.items():
        account = next((row["account"] for row in reversed(mine) if row["account"]), "")
        open_ = [row for row in mine if row["event"] not in (*_ENDED, *_NO_TRANSACTION)]
        nonces = [row["nonce"] + (row["event"] != "adopted") for row in mine if row["nonce"] is not None]
        if (venue, address) in halted:
            troubles.append(f"nothing of {address} is sent on {venue} any more: {halted[venue, address]}")
        gas = spent[account, venue]
        shown.append((venue, account, address, max(nonces, default=None), len(open_), str(gas), halted.get((venue, address))))
        waiting += [_transaction(row, seen.now) for row in open_]
    sections = []
    if shown:
        sections.append(Section("senders", "Who sends on chains; gas since the start", _SENDERS, shown))
    if waiting:
        sections.append(Section("waiting", "Transactions that may still be included", _WAITING, waiting))
    return sections


def _transaction(row: Row, now: int) -> tuple[Any, ...]:
    age = millis(max(now - row["ts_recv"], 0) // NANOS_PER_MS * NANOS_PER_MS)
    about = (row["venue"], row["address"], row["nonce"], row["tx_hash"], row["order"], row["purpose"], row["channel"], row["event"])
    return (*about, moment_of(row["ts_recv"]), age, row["max_fee_wei"], row["tip_wei"])
