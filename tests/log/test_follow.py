"""A follower hands out each row once, in order, whatever the writer does in between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.log.live import head, quotes, read_inputs, read_outputs, refusal
from tests.log.logs import HEADER, START
from tests.log.test_livelog import QUICK, rotated, wait_for
from xarb.errors import ConfigError, LogError
from xarb.inspection import repair_table
from xarb.log.committer import Policy
from xarb.log.follow import Follower, last_ts_of
from xarb.log.journal import journals
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Manifest
from xarb.model.columns import TABLES

ROOT = Path(__file__).resolve().parents[2]
ALL = tuple(TABLES)
Found = list[tuple[str, dict[str, Any]]]


def whole(folder: Path) -> Found:
    """Every row of a sealed log in its order: inputs, each followed by its outputs."""
    rows = [((row["seq"], -1), (kind, row)) for kind, row in read_inputs(folder)]
    rows += [((row["after_seq"], row["n"]), (kind, row)) for kind, row in read_outputs(folder)]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def write_into_the_next(log: LiveLog) -> None:
    """Write what was appended into the next journal; the current one is sealed."""
    rotated(log)
    log._policy = Policy(seal_rows=1)
    log.write()
    log._policy = QUICK


@pytest.mark.parametrize("seed", range(6))
def test_every_row_comes_once_and_in_order(tmp_path: Path, seed: int) -> None:
    """Looks at random moments of a log that is written, rotated, sealed, closed and continued give just its rows; counts are right."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    folder, found, counts = tmp_path / "log", Found(), Counter[str]()
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    with Follower(folder, ALL) as follower:

        def look() -> None:
            news = follower.take()
            found.extend(news.rows)
            counts.update(news.counts)

        for step in range(60):
            outs = [refusal(log.last + 1, 0, 7), refusal(log.last + 1, 1, 8)] if draw.random() < 0.5 else []
            log.append(quotes(log.last + 1, draw.randint(1, 5)) if not outs else quotes(log.last + 1, 1), outs)
            if draw.random() < 0.2:
                write_into_the_next(log)
            log.write()
            if draw.random() < 0.1:
                log.close()
                log = LiveLog.open(folder, QUICK)
            if draw.random() < 0.3 or step == 0:
                look()
        log.close()
        look()
        assert follower.take().rows == []
    assert found == whole(folder)
    assert counts == Counter(kind for kind, _ in found)


def test_a_row_is_seen_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """What was written before a look is in it; last prices and connections too."""
    with LiveLog.create(tmp_path / "log", HEADER, QUICK) as log:
        log.append(head())
        log.write()
        with Follower(tmp_path / "log", ("quotes",)) as follower:
            follower.take()
            for n in range(2, 8):
                log.append(quotes(n, 1))
                log.write()
                news = follower.take()
                assert [row["seq"] for _, row in news.rows] == [n]
                (mid,) = news.mids.values()
                assert (mid.doubled, mid.px_scale, mid.ts_recv) == (300 + 2 * n, 2, START + n * 1000)
                assert news.heard[0].ts_recv == news.last_ts == START + n * 1000


def test_only_what_is_wanted_is_read_of_old_segments(tmp_path: Path) -> None:
    """Before `since` come the kinds of `always` alone; everything is counted."""
    folder = tmp_path / "log"
    with LiveLog.create(folder, HEADER, QUICK) as log:
        log.append(head())
        log.append(quotes(2, 50), [])
        log.write()
    with LiveLog.open(folder, QUICK) as log:
        log.append(quotes(52, 50))
    assert last_ts_of(folder, "quotes") == START + 101 * 1000
    assert last_ts_of(folder, "starts") is None
    with Follower(folder, ("quotes", "instruments"), always=("instruments",), since=START + 60 * 1000) as follower:
        news = follower.take()
    assert [kind for kind, _ in news.rows] == ["instruments"] + ["quotes"] * 50
    assert news.counts == {"connections": 1, "instruments": 1, "quotes": 100}


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_writer_and_the_next_one_are_followed(tmp_path: Path, seed: int) -> None:
    """Through `kill -9`, recovery, and another start: no row twice, none missing, also where a torn frame was cut off."""
    folder, found = tmp_path / "log", Found()
    follower: Follower | None = None
    for life in range(3):
        command = [sys.executable, "-m", "tests.log.recorder", str(folder), str(seed + life), "0.001"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        ) as process:
            assert process.stdout is not None
            for number, _ in enumerate(process.stdout):
                if follower is None:
                    follower = Follower(folder, ALL)
                if number % 7 == life:
                    found += follower.take().rows
                if number == 120:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        if life == 1:
            _, path = journals(folder)[-1]
            with path.open("ab") as file:
                file.write(b"torn")
    assert follower is not None
    with follower:
        LiveLog.open(folder, QUICK).close()
        found += follower.take().rows
    assert found == whole(folder)


def test_damage_in_the_middle_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    """A flipped byte with sound frames behind it is damage, not a torn tail; what stands before it is handed out first."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    with Follower(folder, ALL) as follower:
        follower.take()
        _, path = journals(folder)[0]
        log.append(quotes(2, 1))
        log.write()
        at = path.stat().st_size
        for n in (3, 4):
            log.append(quotes(n, 1))
            log.write()
        data = bytearray(path.read_bytes())
        data[at + 60] ^= 1
        path.write_bytes(data)
        assert [row["seq"] for _, row in follower.take().rows] == [2]
        for _ in range(2):
            with pytest.raises(LogError, match="xarb log verify"):
                follower.take()
    log.abandon()


@pytest.mark.parametrize("looks", [False, True])
def test_a_log_that_was_mended_is_followed_on(tmp_path: Path, looks: bool) -> None:
    """`xarb log repair` puts another journal in the place of a damaged one and seals it: what was handed out does not come again."""
    folder, found = tmp_path / "log", Found()
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.append({}, [refusal(1, 0, 1), refusal(1, 1, 2)])
    log.write()
    counts = Counter[str]()

    def look() -> None:
        news = follower.take()
        found.extend(news.rows)
        counts.update(news.counts)

    with Follower(folder, ALL) as follower:
        _, path = journals(folder)[0]
        at = 0
        for n in range(2, 8):
            at = path.stat().st_size if n == 5 else at
            log.append(quotes(n, 1), [refusal(n, 0, n), refusal(n, 1, n)])
            log.write()
            if n == 3 and looks:
                look()
        log.abandon()
        data = bytearray(path.read_bytes())
        data[at + 60] ^= 1
        path.write_bytes(data)
        look()
        with pytest.raises(LogError):
            look()
        repair_table(folder)
        look()
        with LiveLog.open(folder, QUICK) as again:
            again.append(quotes(again.last + 1, 2))
        look()
    assert found == whole(folder)
    assert counts == Counter(kind for kind, _ in found)


def test_a_journal_that_was_written_anew_is_not_read_twice(tmp_path: Path) -> None:
    """A repair puts a file with the same rows in the place of the old one, and more behind them, before it seals it."""
    folder, other = tmp_path / "log", tmp_path / "other"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.append(quotes(2, 3), [refusal(4, 0, 1)])
    log.write()
    with Follower(folder, ALL) as follower:
        _, path = journals(folder)[0]
        shutil.copy(path, other)
        assert len(follower.take().rows) == 6
        log.append(quotes(5, 1), [refusal(5, 0, 1)])
        log.write()
        log.abandon()
        other.write_bytes(path.read_bytes())
        other.replace(path)
        assert [kind for kind, _ in follower.take().rows] == ["quotes", "refusals"]
        assert follower.take().rows == []


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    """An empty folder has no manifest."""
    with pytest.raises(ConfigError, match="no log"):
        Follower(tmp_path, ALL)


def test_a_segment_that_was_never_open_here_comes_from_its_files(tmp_path: Path) -> None:
    """Two segments are sealed and their journals gone between two looks."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    with Follower(folder, ALL) as follower:
        found = follower.take().rows
        for n in range(2, 8, 2):
            log.append(quotes(n, 2), [refusal(n + 1, 0, n)])
            write_into_the_next(log)
        wait_for(lambda: len(Manifest(folder).segments) == 3)
        found += follower.take().rows
        log.close()
        found += follower.take().rows
    assert found == whole(folder)
