"""A log that was written anew from somewhere on is whole, and yet not the one that it was: a digest from before finds it out."""

from __future__ import annotations

import shutil
from pathlib import Path

from typer.testing import CliRunner

from tests.log.logs import small_log
from xarb.cli import app
from xarb.log.check import verify_log
from xarb.log.manifest import NAME, Manifest, last_digest


def verified(log: Path, *had: str) -> tuple[int, str]:
    """What `xarb log verify --had` says."""
    words = [word for digest in had for word in ("--had", digest)]
    done = CliRunner().invoke(app, ["log", "verify", str(log), *words])
    return done.exit_code, done.stdout


def test_a_log_comes_by_every_digest_that_it_had(tmp_path: Path) -> None:
    """Each line's, whole or the first 16 digits, also after more was written behind it."""
    log = small_log(tmp_path / "log")
    heads = Manifest(log).heads
    assert len(heads) > 1
    assert last_digest(log) == heads[-1]
    code, told = verified(log, *heads, heads[0][:16])
    assert (code, told.count(": yes")) == (0, len(heads) + 1)


def test_a_log_that_was_written_anew_is_found_out(tmp_path: Path) -> None:
    """With every digest and chain made to fit it is whole by itself; a digest of before is not in it."""
    log = small_log(tmp_path / "log")
    had = last_digest(log)
    other = tmp_path / "other"
    shutil.copytree(log, other)
    lines = (other / NAME).read_bytes().splitlines(keepends=True)
    (other / NAME).write_bytes(b"".join(lines[:-1]))  # the last segment is cut off, as if it had never been
    last = lines[-1]
    for name in (word.split(b'"')[0].decode() for word in last.split(b'"path":"')[1:]):
        (other / name).unlink()
    assert verify_log(other).ok
    assert verified(other)[0] == 0
    code, told = verified(other, had)
    assert code == 1
    assert "NO: what was written before is not there" in told
    assert verified(other, last_digest(other))[0] == 0


def test_what_is_no_digest_is_refused(tmp_path: Path) -> None:
    """Too short to prove anything, or no digits."""
    log = small_log(tmp_path / "log")
    for text in ("", "abc", "A" * 64, "g" * 64, "0" * 65):
        assert verified(log, text)[0] == 2 or "no digest" in str(
            CliRunner().invoke(app, ["log", "verify", str(log), "--had", text]).exception
        )
