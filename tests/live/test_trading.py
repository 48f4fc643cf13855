"""Live trading on paper: what it did is proven by replay, over starts, stops and deaths of the process."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from tests.live.player import Player, recorded
from xarb.log.reader import LogReader
from xarb.verify import verify


def silent(done: int, total: int, note: str = "") -> None:
    """No progress."""


@cache
def market(first: int, count: int) -> list[tuple[str, tuple[Any, ...]]]:
    """Rows of the quickstart."""
    return list(recorded(first, count))


def test_a_start_on_paper_is_proven_by_replay(tmp_path: Path) -> None:
    """Orders were sent and filled, timers were rows, and every output row comes again in other batches."""
    player = Player(tmp_path / "log")
    player.play(market(0, 30_000))
    player.end()
    kinds = Counter(row[0] for row in player.outputs)
    assert kinds["commands"] > 20
    assert kinds["fills"] > 10
    proof = verify(tmp_path / "log", advance=silent)
    assert proof.equal
    with LogReader(tmp_path / "log") as log:
        assert sum(1 for _ in log.rows("timers")) > 10
        assert sum(1 for _ in log.outputs()) == len(player.outputs) == int(proof.tables[0].rows[0][3])


def test_a_start_goes_on_where_the_one_before_stopped_or_died(tmp_path: Path) -> None:
    """Money on paper is carried over, orders are counted anew, and each start is proven alone."""
    folder = tmp_path / "log"
    first = Player(folder)
    first.play(market(0, 10_000))
    first.end()
    second = Player(folder, seed=2)
    second.play(market(10_000, 10_000))
    second.log.abandon()
    third = Player(folder, seed=3)
    third.play(market(20_000, 10_000))
    third.end()
    assert any(row[0] == "fills" for row in third.outputs)
    before = second.trading.assembly.engine.portfolio.balances()
    assert third.trading.assembly.opening == before != first.trading.assembly.opening
    proof = verify(folder, advance=silent)
    assert [(row[0], row[-1]) for row in proof.tables[0].rows] == [("1", "equal"), ("2", "equal"), ("3", "equal")]
