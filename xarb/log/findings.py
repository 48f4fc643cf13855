"""What a check of a log found."""

from __future__ import annotations

from typing import Final

import msgspec

FINDINGS_LIMIT: Final = 1_000  # findings kept; more are counted only


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One broken promise: where (`file` relative to the folder, `row` from 0 within it where one row is at fault), and what."""

    file: str
    what: str
    row: int | None = None


class Report(msgspec.Struct, kw_only=True):
    """What `verify_log` found: `ok` when nothing is wrong.

    `leftovers` are temporary files of a writer at work or of one that was interrupted, files that a tombstone covers and that an
    interrupted pruning left, and damaged journals that a repair kept; they are no part of the log. `files`, `rows` and `bytes` are of
    what is there, `gone_files` and `gone_rows` of what tombstones cover. The tail is what stands in journals: sound frames count as rows
    and bytes, `torn_bytes` are behind them.
    """

    folder: str
    digest: str | None = None
    segments: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
    gone_files: int = 0
    gone_rows: int = 0
    findings: list[Finding] = []
    more_findings: int = 0
    leftovers: list[str] = []
    checkpoints: int = 0
    tail_rows: int = 0
    tail_bytes: int = 0
    torn_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether every promise holds."""
        return not self.findings

    def add(self, file: str, what: str, row: int | None = None) -> None:
        """Note a broken promise."""
        if len(self.findings) < FINDINGS_LIMIT:
            self.findings.append(Finding(file=file, what=what, row=row))
        else:
            self.more_findings += 1
