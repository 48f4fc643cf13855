"""How chains and senders stand, by rows of a log: what waits, what was halted, and what speaks against sending."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.dexworld import EVEN, Act, chain_log
from tests.engine.cycles import CHAIN
from tests.trial import write_log
from xarb.inquiry.chainstanding import Seen, chain_sections
from xarb.inquiry.sections import as_json
from xarb.sql.connection import open_query
from xarb.watch.state import KINDS, Sender, Watched

ME = "0x" + "e" * 40
SECOND = 10**9


def transaction(nonce: int | None, event: str, **more: Any) -> dict[str, Any]:
    """A row of `transactions`."""
    plain = {"account": "main", "strategy": "dex", "venue": CHAIN, "chain_id": 1, "address": ME, "start": 1, "order": nonce}
    sent = {"tx_hash": f"0x{nonce}", "purpose": "trade", "channel": "public", "max_fee_wei": "20", "tip_wei": "1"}
    rest = dict.fromkeys(("ceiling_wei", "gas_limit", "deadline_s", "block_number", "block_hash", "reason", "error"))
    return plain | sent | rest | {"nonce": nonce, "event": event} | more


def reading(value: int, detail: str) -> dict[str, Any]:
    """What speaks against sending."""
    return {"venue": CHAIN, "metric": "chain_objections", "value": value, "detail": detail}


def log(folder: Path, *rows: tuple[str, dict[str, Any]]) -> Path:
    """Such rows, a second each."""
    return write_log(folder, [(number * 1000, row) for number, row in enumerate(rows)])


def look(folder: Path, now: int, since: int = 0) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """The tables of a start that began with input `since`, and the troubles."""
    troubles: list[str] = []
    with open_query([folder]) as query:
        sections = chain_sections(Seen(query, ("seq", ">=", since), ("after_seq", ">=", since), now, [CHAIN]), troubles)
    return json.loads(as_json(sections)), troubles


def test_what_waits_and_what_speaks_against_sending(tmp_path: Path) -> None:
    """Of each transaction its last row counts; one that is mined, replaced or dropped waits no more, one whose block is gone does again."""
    nothing = {"tx_hash": "", "purpose": "none", "channel": "none", "order": None}
    rows = [
        ("transactions", transaction(4, "adopted", **nothing)),
        *(("transactions", transaction(4, event)) for event in ("intent", "sent", "mined", "reorged")),
        *(("transactions", transaction(5, event)) for event in ("intent", "unknown")),
        *(("transactions", transaction(6, event)) for event in ("intent", "sent", "dropped")),
        ("transactions", transaction(None, "refused", tx_hash="", reason="simulation")),
        ("health", reading(1, "main at ethereum: the node is behind")),
    ]
    found, troubles = look(log(tmp_path / "log", *rows), 10**19)
    assert [(row["nonce"], row["event"]) for row in found["waiting"]] == [(4, "reorged"), (5, "unknown")]
    (sender,) = found["senders"]
    assert (sender["account"], sender["next_nonce"], sender["waiting"], sender["halted"]) == ("main", 7, 2, None)
    assert troubles == [f"no block of {CHAIN} came", f"nothing is sent on {CHAIN}: main at ethereum: the node is behind"]
    watched = Watched()
    assert {"transactions", "cycle_states"} <= {*KINDS}
    for _, row in rows[:-1]:
        watched._transaction(row)  # as each is taken
    assert watched.senders == {(CHAIN, ME): Sender(7, {"0x4", "0x5"})}


def test_what_is_over_is_no_trouble(tmp_path: Path) -> None:
    """Objections that are gone; but what halted an address stays, until the next start."""
    halted = transaction(None, "halted", tx_hash="", reason="stuck", purpose="none", channel="none", order=None)
    rows = [("health", reading(1, "behind")), ("health", reading(0, "")), ("transactions", halted)]
    found, troubles = look(log(tmp_path / "log", *rows), 10**19)
    assert troubles == [f"no block of {CHAIN} came", f"nothing of {ME} is sent on {CHAIN} any more: stuck"]
    assert found["chains"][0]["objections"] is None
    found, troubles = look(log(tmp_path / "next", *rows, ("transactions", transaction(3, "adopted", tx_hash=""))), 10**19, since=3)
    assert (found["senders"][0]["halted"], troubles) == (None, [f"no block of {CHAIN} came"])


def test_heads_are_told_with_the_fee_to_come(tmp_path: Path) -> None:
    """Of the newest block; removed ones are counted."""
    folder = chain_log(tmp_path / "log", [Act(EVEN), Act(EVEN, base_fee_wei=7), Act(EVEN, removed=1, base_fee_wei=80)])
    found, troubles = look(folder, 0)
    (chain,) = found["chains"]
    assert (chain["block"], chain["base_fee_wei"], chain["next_base_fee_wei"], chain["removed"]) == (101, "80", "80", 1)
    assert troubles == []
