"""The lock of an account: one process on this machine trades with a key."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xarb.errors import Refused
from xarb.venues.accountlock import AccountLocks, Locked, lock_folder
from xarb.venues.exchange import OWN_PLACE, Place
from xarb.venues.keys import Keys

KEY = "key-that-nobody-may-see"
MAIN = Keys("alpha", "main", {"api_key": KEY, "api_secret": "s3cr3t"})
HOLD = """
import sys
from pathlib import Path
from xarb.venues.accountlock import AccountLocks, Locked
locks = AccountLocks(Path(sys.argv[1]))
locks.take([Locked("main at alpha", sys.argv[2])])
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the locks lie."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return lock_folder(os.environ)


def test_a_second_process_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    """By its number and its log; once it is killed, without a word, the lock is free."""
    mine = MAIN.locked("binance", OWN_PLACE)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "first"), mine.digest], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"taken\n"
        locks = AccountLocks(tmp_path / "second")
        with pytest.raises(Refused, match=rf"main at alpha: process {other.pid} with the log {tmp_path}/first"):
            locks.take([Locked("other at alpha", "0" * 32), mine])
        AccountLocks(tmp_path / "third").take([Locked("other at alpha", "0" * 32)])  # all or none were taken
        other.kill()
        other.wait(30)
        locks.take([mine])
    locks.release()
    locks.release()
    AccountLocks(tmp_path / "third").take([mine])


def test_two_accounts_with_one_key_are_refused(tmp_path: Path) -> None:
    """Each would take the other's orders for a stranger's and the other's money for its own."""
    twin = Keys("alpha", "twin", {"api_key": KEY, "api_secret": "other"})
    locks = AccountLocks(tmp_path)
    with pytest.raises(Refused, match="twin at alpha has the key of main at alpha"):
        locks.take([MAIN.locked("binance", OWN_PLACE), twin.locked("binance", OWN_PLACE)])
    locks.take([MAIN.locked("binance", OWN_PLACE)])


def test_an_account_is_known_by_exchange_place_and_key() -> None:
    """And by nothing else: not the secret, not what a config calls it."""
    mine = MAIN.locked("binance", OWN_PLACE).digest
    assert Keys("beta", "else", {"api_key": f" {KEY} ", "api_secret": "x"}).locked("binance", OWN_PLACE).digest == mine
    others = [
        MAIN.locked("okx", OWN_PLACE),
        MAIN.locked("binance", Place(rest_url="http://127.0.0.1:9001")),
        MAIN.locked("binance", Place(hosts={"api.binance.com": "127.0.0.1:9001"})),
        Keys("alpha", "main", {"api_key": "another", "api_secret": "s3cr3t"}).locked("binance", OWN_PLACE),
    ]
    assert len({mine, *(one.digest for one in others)}) == 5


def test_nothing_of_the_key_is_written_and_nobody_else_may_look(tmp_path: Path, place: Path) -> None:
    """A folder and files of the user's alone; neither the key nor its plain digest stands in a name or a text."""
    AccountLocks(tmp_path / "log").take([MAIN.locked("binance", OWN_PLACE)])
    [file] = place.iterdir()
    assert (place.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    plain = hashlib.sha256(KEY.encode()).hexdigest()
    for text in (file.name, file.read_text()):
        assert KEY not in text
        assert plain[:8] not in text
    assert str(tmp_path / "log") in file.read_text()


def test_without_a_place_for_locks_nothing_is_traded(tmp_path: Path) -> None:
    """No home, or one that cannot be written; a home alone will do."""
    with pytest.raises(Refused, match="XDG_STATE_HOME"):
        lock_folder({})
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be taken"):
        AccountLocks(tmp_path, {"XDG_STATE_HOME": str(tmp_path / "file")}).take([MAIN.locked("binance", OWN_PLACE)])
    assert lock_folder({"HOME": "/home/me"}) == Path("/home/me/.local/state/xarb/accounts")
