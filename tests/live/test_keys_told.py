"""With which keys a start trades stands in its log, and what should be known of them is said; the start is on the disk before it arms."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.live.site import VENUES, filled, site, traded
from tests.serve.site import KEY, SECRET
from xarb.live.session import Session
from xarb.log.reader import LogReader
from xarb.verbs.status import status

if TYPE_CHECKING:
    import pytest


def test_a_start_tells_its_keys_and_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose, what they may do and where they were found, before the row of the start; warnings on standard error and in the status; no key.

    What was begun is durable at once, whatever the policy: its number is in the names of its orders, and may be no other start's.
    """
    real, durable = Session._start, []

    async def begun(self: Session, *known: Any, first_conn: int) -> int:
        conn = await real(self, *known, first_conn=first_conn)
        durable.append(self.log.synced)
        return conn

    monkeypatch.setattr(Session, "_start", begun)
    log = tmp_path / "log"
    (tmp_path / "bravo.toml").write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n')
    (tmp_path / "bravo.toml").chmod(0o600)

    async def story() -> None:
        async with site(tmp_path) as at:
            config = at.config.read_text().replace("[live]", '[live]\nkeys = { "main.bravo" = "bravo.toml" }')
            at.config.write_text(config)
            await traded(at, log, filled(1))

    asyncio.run(story())
    with LogReader(log) as reader:
        [start] = reader.rows("starts")
        acts = [row for row in reader.rows("operator") if row["action"] == "keys"]
        warnings = [row for row in reader.rows("health") if row["metric"] == "account_warning"]
    assert [start["seq"] <= seq for seq in durable] == [True]
    rights = "may trade, may not withdraw, not bound to addresses"
    found = ("the environment", "the file bravo.toml")
    assert [row["detail"] for row in acts] == [
        f"main at {venue}: {rights}; from {where}" for venue, where in zip(VENUES, found, strict=True)
    ]
    assert all(row["seq"] < start["seq"] for row in acts)
    assert [(row["venue"], row["value"], row["detail"]) for row in warnings] == [
        (venue, 1, "main: the key is not bound to addresses") for venue in VENUES
    ]
    printed = capsys.readouterr()
    assert printed.err.count("main at alpha: the key is not bound to addresses\n") == 1
    shown = [row for one in status(log).sections for row in one.rows]
    assert any("the key is not bound to addresses" in f"{cell}" for row in shown for cell in row)
    for text in (printed.err, printed.out, *(f"{row}" for row in acts)):
        assert KEY not in text
        assert SECRET not in text
