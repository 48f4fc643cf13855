"""The query verb as the command line has it: logs, then a statement, a prompt, or the examples."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from xarb.console import is_terminal, print_to
from xarb.errors import ConfigError
from xarb.sql.connection import Query, Result, open_query
from xarb.sql.examples import EXAMPLES
from xarb.sql.output import FORMATS, print_table, write_result
from xarb.sql.prompt import run_prompt


def command(arguments: Sequence[str], *, output: str | None, examples: bool) -> int:
    """Run the verb; its exit code.

    Args:
        arguments: folders of logs and runs, then at most one statement. What is a folder is a log; the first word that is none is SQL.
        output: one of FORMATS; None is a table on a terminal, else CSV.
        examples: print statements that run as they stand on what is open, with their titles as comments.

    Raises:
        ConfigError: wrong use, no log, or a statement that fails.
        LogError: a log is damaged.
    """
    if output is not None and output not in FORMATS:
        raise ConfigError(f"--format {output}: allowed are {', '.join(FORMATS)}")
    folders = [word for word in arguments if _is_folder(word)]
    rest = [word for word in arguments if not _is_folder(word)]
    if len(rest) > 1 or (rest and arguments[-1] != rest[0]):
        raise ConfigError(f'query LOG_OR_RUN... "SQL": no log is at {rest[0]!r}, and one statement is taken, as the last word')
    if rest and not any(char.isspace() for char in rest[0]):
        raise ConfigError(f"{rest[0]}: no log is there, and it is no SQL statement")
    if examples and rest:
        raise ConfigError("--examples prints statements; it takes no SQL")
    if examples and not folders:
        _print_examples(None)
        return 0
    form = output or ("table" if is_terminal() else "csv")
    with open_query(folders) as query:
        if examples:
            _print_examples(query)
            return 0
        if not rest:
            return run_prompt(query, sys.stdin, print_to(sys.stdout), form=form)
        _print_result(query.run(rest[0], nanoseconds=form == "parquet"), form)
    return 0


def _print_result(result: Result, form: str) -> None:
    if form == "table":
        print_table(result, print_to(sys.stdout))
    else:
        write_result(result, sys.stdout.buffer, form)
        sys.stdout.flush()


def _is_folder(word: str) -> bool:
    """Whether a word of the command line names a folder; a statement that is no possible name, being too long, does not."""
    try:
        return Path(word).is_dir()
    except (OSError, ValueError):
        return False


def _print_examples(query: Query | None) -> None:
    """Statements with their titles; of an open query those that it can answer."""
    out = sys.stdout
    kinds = {"log", "run"} if query is None else {source.manifest.header.kind for source in query.sources}
    for example in EXAMPLES:
        needed = {"log", "run"} if example.needs == "both" else {example.needs}
        if needed <= kinds:
            out.write(f"/* {example.title} */\n{example.sql};\n\n")
