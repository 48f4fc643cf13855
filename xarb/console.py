"""What a person sees: tables on a terminal, plain tab-separated data in a pipe, progress on standard error."""

from __future__ import annotations

import datetime as dt
import errno
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TextIO

from xarb.errors import Interrupted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Drawn


READER_LEFT: Final = 141  # exit code; 128 + SIGPIPE


class Table(NamedTuple):
    """A printable table: every cell is text; a column of numbers is aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Advance(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units are done."""


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether output goes to a person's terminal."""
    return (stream or sys.stdout).isatty()


def show(tables: Sequence[Table], stream: TextIO | None = None) -> None:
    """Print tables: drawn on a terminal, else tab-separated with a comment line before each."""
    out = stream or sys.stdout
    for table in tables:
        if is_terminal(out):
            _draw(table, out)
        else:
            print(f"# {table.title}", file=out)
            for row in (table.columns, *table.rows):
                print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row), file=out)


def say(text: str) -> None:
    """A line for the person, on standard error, so that a pipe gets data only."""
    print(text, file=sys.stderr)


def warn(text: str) -> None:
    """A line that must not be overlooked: white on red on a terminal."""
    if is_terminal(sys.stderr):
        print_to(sys.stderr).print(f" {text} ", style="bold white on red", highlight=False, markup=False)
    else:
        say(text)


def print_to(stream: TextIO) -> Console:
    """A console that draws on `stream`."""
    from rich.console import Console

    return Console(file=stream)


def utc(ts: int) -> str:
    """A time in ns as ISO 8601 in UTC, to the millisecond."""
    return (
        dt.datetime.fromtimestamp(ts // 1_000_000_000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        + f".{ts % 1_000_000_000 // 1_000_000:03d}Z"
    )


def _draw(table: Table, out: TextIO) -> None:
    print_to(out).print(_drawn(table))


def _drawn(table: Table) -> Drawn:
    """The table as rich draws it."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(title=Text(table.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(table.columns):
        cells = [row[at] for row in table.rows]
        drawn.add_column(Text(name), justify="right" if cells and all(_is_number(cell) for cell in cells) else "left")
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def _is_number(cell: str) -> bool:
    text = cell.split(" ", 1)[0].replace(",", "").lstrip("+-")
    return cell in {"-", ""} or text.replace(".", "", 1).isdigit()


@contextmanager
def drawn_in_place() -> Iterator[Callable[[Sequence[Table]], None] | None]:
    """Draws tables on standard error, each time in place of the last ones; None when that is no terminal."""
    if not is_terminal(sys.stderr):
        yield None
        return
    from rich.console import Console, Group
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda tables: live.update(Group(*map(_drawn, tables)), refresh=True)


def _silent(done: int, total: int, note: str = "") -> None:
    del done, total, note


@contextmanager
def interruptible(kept: str = "") -> Iterator[None]:
    """Ctrl-C in here ends the command with one line; `kept` says what is kept then, empty for what never keeps anything.

    Raises:
        Interrupted: in place of KeyboardInterrupt, which Typer would turn into an exit code without a word.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted{f'; {kept}' if kept else ''}") from None


@contextmanager
def while_read() -> Iterator[None]:
    """Ends the process with 141 when who reads standard output leaves before all was written, as shells know it.

    Typer would make 1 of it, which is the word for a failed check. A verdict that was reached stands.

    Raises:
        OSError: another pipe broke, such as a connection, which Typer would take for that one and end without a word.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _has_left():
            raise OSError(errno.ECONNABORTED, f"a connection broke: {error.strerror}") from error
        sys.exit(READER_LEFT)
    finally:
        if _has_left():  # what is still held would be written when the interpreter ends, and fail there
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _has_left() -> bool:
    """Whether nobody reads standard output any more."""
    try:
        number = sys.stdout.fileno()
    except OSError:  # it is no file, such as in a test
        return False
    asked = select.poll()
    asked.register(number, 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))


@contextmanager
def progress(title: str) -> Iterator[Advance]:
    """A progress bar on standard error; silent when that is no terminal."""
    if not is_terminal(sys.stderr):
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note="": bar.update(task, completed=done, total=total, note=note)
