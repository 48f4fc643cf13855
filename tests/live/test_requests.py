"""Requests from other shells."""

from __future__ import annotations

import time
from pathlib import Path

from xarb.live import requests


def test_requests_are_taken_once_and_in_order(tmp_path: Path) -> None:
    """They say who asked; what is no request is removed and does no harm."""
    requests.ask(tmp_path, "stop")
    requests.ask(tmp_path, "kill")
    (tmp_path / ".request-1").write_text("rubbish")
    (tmp_path / ".request-2.new").write_text("half")
    found = requests.take(tmp_path)
    assert [one.action for one in found] == ["stop", "kill"]
    assert "process" in found[0].actor
    assert requests.take(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [".request-2.new"]


def test_requests_to_an_earlier_process_are_forgotten(tmp_path: Path) -> None:
    """A stop that nobody took must not stop the next session."""
    requests.ask(tmp_path, "stop")
    requests.forget(tmp_path, time.time_ns())
    assert requests.take(tmp_path) == []


def test_a_request_to_a_process_that_is_still_recovering_the_log_is_kept(tmp_path: Path) -> None:
    """It has the log already, so that others may ask it, and forgets only what is older than itself."""
    began = time.time_ns()
    requests.ask(tmp_path, "kill")
    requests.forget(tmp_path, began)
    assert [one.action for one in requests.take(tmp_path)] == ["kill"]
