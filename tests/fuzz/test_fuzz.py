"""The corpus and a second of mutations of it, as the runner feeds them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.__main__ import HangError, feed, run
from tests.fuzz.importers import FOLDER, importers
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target
from tests.imports.conftest import imported
from xarb import toml
from xarb.config import load_experiment
from xarb.errors import ConfigError
from xarb.imports.sources import FORMATS, load_sources
from xarb.serve.config import load_config
from xarb.venues.keys import values_of
from xarb.wires.exchanges import WIRES


def test_every_reader_endures_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but errors of ours comes out, and every reader was fed."""
    assert run(1.0, 7) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line.split("\t")[0] for line in lines[:-1]}
    assert names >= {f"wire {name}" for name in WIRES} | {"config", "journal", "views"} | {
        f"import {path.stem}" for path in FOLDER.glob("*.toml")
    }
    assert all(int(line.split("\t")[1]) > 0 for line in lines[:-1])


def test_every_importer_is_fed(tmp_path: Path) -> None:
    """Each format has a sources file, whose sample is read as what it is."""
    assert {toml.read(path)["source"][0]["format"] for path in FOLDER.glob("*.toml")} == set(FORMATS)
    for target in importers(tmp_path):
        target.feed(target.corpus[0], Random(1))
        found = imported(load_sources(tmp_path / target.name / "sources.toml"))
        assert found.rows.keys() & {"quotes", "trades", "books", "book_deltas"}, target.name


def test_same_seed_gives_the_same_case() -> None:
    """A case is found again by its seed."""
    assert mutated(b"abc=1", [b"x"], Random("3 4")) == mutated(b"abc=1", [b"x"], Random("3 4"))


def test_other_errors_are_not_swallowed() -> None:
    """An error that is none of ours ends the run."""

    def fail(data: bytes, random: Random) -> None:
        raise HangError(f"{data!r} {random}")

    with pytest.raises(HangError):
        feed(Target("x", [b""], fail), b"", Random(1))


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000, "x = " + "{ a = " * 3000, "x = 1e" + "9" * 30])
def test_toml_that_overflows_its_parser_is_no_valid_toml(tmp_path: Path, text: str) -> None:
    """Nesting (found by fuzzing) deeper than the interpreter's stack, integers longer than it converts, and exponents out of range are errors of the file."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    for read in (load_experiment, load_sources, load_config):
        with pytest.raises(ConfigError):
            read(path)
    with pytest.raises(ConfigError):
        values_of(text, "x")
