"""The prompt: statements over lines, dot commands, errors and pipes."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.sql.conftest import ROOT
from xarb.sql import EXAMPLES, open_query, run_prompt
from xarb.sql.prompt import is_complete

TERMINAL = """
import fcntl, sys, termios
from rich.console import Console
from xarb.sql import open_query, run_prompt
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C of this terminal is a signal for us
with open_query([sys.argv[1]]) as query:
    sys.exit(run_prompt(query, sys.stdin, Console()))
"""


def _piped(log: Path, text: str, form: str = "table") -> tuple[int, str]:
    out, console = io.BytesIO(), Console(file=io.StringIO(), width=200)
    with open_query([log]) as query:
        code = run_prompt(query, io.StringIO(text), console, form=form, out=out)
    return code, console.file.getvalue() + out.getvalue().decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT ';'", False),
        ("SELECT ';", False),
        ("SELECT ';';", True),
        ('SELECT ";', False),
        ("SELECT 'it''s;';", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1 -- ;", False),
        ("SELECT 1 -- it's\n;", True),
        ("/* ; */", False),
        ("/* ;", False),
        ("SELECT /* ' */ 1;", True),
        ("SELECT 1;\n\n", True),
        ("", False),
    ],
)
def test_a_statement_ends_at_a_semicolon_outside_quotes(text: str, complete: bool) -> None:
    """Quotes and comments may hold semicolons; only one outside of them ends a statement."""
    assert is_complete(text) is complete


def test_statements_come_from_a_pipe(log: Path) -> None:
    """Several statements, one over two lines, the last without a semicolon; each gives its result."""
    code, out = _piped(log, "SELECT 1 AS a; SELECT 2 AS b;\n\nSELECT count(*)\n  AS c FROM quotes", form="csv")
    assert (code, out) == (0, "a\n1\nb\n2\nc\n4\n")


def test_the_first_error_ends_a_pipe(log: Path) -> None:
    """From a pipe a wrong statement stops everything after it with exit code 2."""
    code, out = _piped(log, "SELECT nope;\nSELECT 42 AS later;\n")
    assert code == 2
    assert "LINE 1" in out
    assert "later" not in out


def test_dot_commands(log: Path) -> None:
    """.tables, .schema, .examples and .help print, .quit leaves, others are named as unknown."""
    code, out = _piped(log, ".tables\n.schema quotes\n.examples\n.help\n.quit\nSELECT 1 AS never;\n")
    assert code == 0
    assert "feed_states" in out
    assert "bid  DOUBLE" in out
    assert all(example.title in out for example in EXAMPLES)
    assert "never" not in out
    assert _piped(log, ".nope\n")[0] == 2
    assert "there are quotes, books" in _piped(log, ".schema nope\n")[1]


def test_every_example_is_one_complete_statement(log: Path) -> None:
    """The examples can be pasted into the prompt as they are printed."""
    with open_query([log]) as query:
        for example in EXAMPLES:
            assert is_complete(example.sql + ";")
            assert len(query.statements(example.sql)) == 1


def test_a_terminal_survives_errors_and_ctrl_c(log: Path, tmp_path: Path) -> None:
    """At a terminal an error does not end the prompt, Ctrl-C stops a running statement, history is kept, Ctrl-D leaves."""
    leader, follower = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    child = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, str(log)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=ROOT,
        env=env,
        start_new_session=True,
    )
    os.close(follower)
    heard = b""

    def until(word: bytes) -> None:
        nonlocal heard
        end = time.monotonic() + 30
        while word not in heard and time.monotonic() < end:
            if select.select([leader], [], [], 0.2)[0]:
                heard += os.read(leader, 65_536)
        assert word in heard, heard
        heard = heard.partition(word)[2]

    try:
        until(b"xarb> ")
        os.write(leader, b"SELECT nope;\n")
        until(b"LINE 1")
        until(b"xarb> ")
        os.write(leader, b"SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b;\n")
        time.sleep(1.0)
        os.write(leader, b"\x03")
        until(b"stopped")
        until(b"xarb> ")
        os.write(leader, b"SELECT 40 + 2 AS\n")
        until(b"xarb> ")
        os.write(leader, b"answer;\n")
        until(b"42")
        until(b"xarb> ")
        os.write(leader, b"\x04")
        assert child.wait(timeout=30) == 0
    finally:
        child.kill()
        child.wait()
        os.close(leader)
    assert "SELECT nope;" in (tmp_path / "xarb" / "query-history").read_text()
