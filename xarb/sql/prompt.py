"""The prompt of `xarb query LOG`: statements over several lines up to a semicolon, and a few commands that start with a dot."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

from xarb.errors import ConfigError, LogError, Refused, XarbError
from xarb.sql.connection import Query
from xarb.sql.examples import EXAMPLES
from xarb.sql.output import print_table, write_result

if TYPE_CHECKING:
    from rich.console import Console

HELP: Final = """.tables          the views
.schema VIEW     its columns
.examples        queries to start from
.help            this
.quit            leave, as Ctrl-D does
A statement ends with a semicolon. Ctrl-C drops the line, or stops the statement that runs."""
_HISTORY_LINES: Final = 1_000
_FAILURES: Final = (ConfigError, LogError, Refused)


def run_prompt(query: Query, stdin: TextIO, console: Console, *, form: str = "table", out: BinaryIO | None = None) -> int:
    """Read statements until the end of input; the exit code.

    At a terminal an error is printed and the prompt goes on. From a pipe the first error ends it with that error's exit code.

    Args:
        query: the open logs.
        stdin: where statements come from; history and editing are there when it is the terminal.
        console: for tables, prompts, messages.
        form: `table`, or a format of `write_result`.
        out: where the other formats go; None is standard output.
    """
    terminal = stdin.isatty()
    sink = sys.stdout.buffer if out is None else out
    lines = _typed_lines(console) if terminal else _piped_lines(stdin)
    for part in _parts(lines):
        if part == ".quit":
            return 0
        try:
            _do(query, part, console, form=form, out=sink)
        except _FAILURES as error:
            _complain(console, error)
            if not terminal:
                return error.exit_code
        except KeyboardInterrupt:
            console.print("stopped", style="yellow")
            if not terminal:
                return 130
    return 0


def is_complete(text: str) -> bool:
    """Whether a text ends with a semicolon that is outside of quotes and comments."""
    at, last, size = 0, "", len(text)
    while at < size:
        two = text[at : at + 2]
        if text[at] in "'\"":
            end = text.find(text[at], at + 1)
        elif two == "--":
            end = text.find("\n", at)
            if end < 0:
                break
        elif two == "/*":
            end = text.find("*/", at + 2) + 1
        else:
            last = last if text[at].isspace() else text[at]
            at += 1
            continue
        if end <= 0:
            return False
        last = last if two in {"--", "/*"} else text[at]
        at = end + 1
    return last == ";"


def _parts(lines: Iterator[str | None]) -> Iterator[str]:
    """Commands and whole statements; None among the lines drops what was typed so far."""
    held: list[str] = []
    for line in lines:
        if line is None:
            held.clear()
        elif not held and line.strip().startswith("."):
            yield line.strip()
        elif held or line.strip():
            held.append(line)
            if is_complete("\n".join(held)):
                yield "\n".join(held)
                held.clear()
    if "".join(held).strip():
        yield "\n".join(held)


def _piped_lines(stdin: TextIO) -> Iterator[str | None]:
    for line in stdin:
        yield line.rstrip("\n")


def _typed_lines(console: Console) -> Iterator[str | None]:
    """Lines from the terminal with editing and history; None for Ctrl-C."""
    save = _history()
    console.print("SQL, ended with a semicolon; .help for commands", style="dim")
    try:
        while True:
            try:
                yield input("xarb> ")
            except KeyboardInterrupt:
                console.print()
                yield None
            except EOFError:
                console.print()
                return
    finally:
        save()


def _history() -> Callable[[], None]:
    """Load the history of earlier prompts; what saves it. A history that cannot be kept is no reason to fail."""
    try:
        import readline
    except ImportError:  # not on every platform
        return lambda: None
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "xarb" / "query-history"
    with suppress(OSError):
        readline.read_history_file(state)
    readline.set_history_length(_HISTORY_LINES)

    def save() -> None:
        with suppress(OSError):
            state.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(state)

    return save


def _do(query: Query, part: str, console: Console, *, form: str, out: BinaryIO) -> None:
    if part.startswith("."):
        _command(query, part, console)
        return
    for statement in query.statements(part):
        _interruptible(query, partial(_show, query, statement, console, form=form, out=out))


def _show(query: Query, statement: str, console: Console, *, form: str, out: BinaryIO) -> None:
    result = query.run(statement, nanoseconds=form == "parquet")
    if form == "table":
        print_table(result, console)
    else:
        write_result(result, out, form)
        out.flush()


def _interruptible(query: Query, act: Callable[[], None]) -> None:
    """Run `act` in a thread, so that Ctrl-C reaches us while DuckDB computes, and stops it."""
    failed: list[BaseException] = []
    done = threading.Event()  # Thread.join of Python 3.11 takes an interrupted thread for a finished one

    def run() -> None:
        try:
            act()
        except (XarbError, KeyboardInterrupt, OSError) as error:
            failed.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="query").start()
    while not done.is_set():
        try:
            done.wait()
        except KeyboardInterrupt:
            query.interrupt()
    if failed:
        raise failed[0]


def _command(query: Query, part: str, console: Console) -> None:
    word, _, argument = part.partition(" ")
    if word == ".tables":
        console.print(", ".join(query.views), highlight=False)
    elif word == ".schema":
        for column, type_ in query.columns(argument.strip().rstrip(";")):
            console.print(f"{column}  {type_}", highlight=False, markup=False)
    elif word == ".examples":
        for example in EXAMPLES:
            console.print(f"-- {example.title}\n{example.sql};\n", highlight=False, markup=False)
    elif word == ".help":
        console.print(HELP, highlight=False)
    else:
        raise ConfigError(f"unknown command {word!r}; there are .tables, .schema VIEW, .examples, .help, .quit")


def _complain(console: Console, error: XarbError) -> None:
    console.print(str(error), style="red", highlight=False, markup=False)
