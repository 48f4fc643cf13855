"""The log verbs as tables: what a log holds, and whether it is whole."""

from __future__ import annotations

from pathlib import Path

from xarb.console import Advance, Table, utc
from xarb.log.check import Report, verify_log
from xarb.log.info import info


def info_tables(folder: Path) -> list[Table]:
    """What a log or a run holds.

    Raises:
        ConfigError: the folder is no log.
        LogError: the manifest is damaged.
    """
    found = info(folder)
    header = found.header
    rows = [
        ("folder", found.folder),
        ("what", header.kind),
        ("id", header.log_id),
        ("origin", header.origin or "-"),
        ("digest", found.digest),
        ("segments, files", f"{found.segments}, {found.files}"),
        ("rows, bytes", f"{found.rows}, {found.bytes}"),
    ]
    if found.first_seq is not None and found.first_ts is not None and found.last_ts is not None:
        rows += [
            ("seq" if header.kind == "log" else "after_seq", f"{found.first_seq} to {found.last_seq}"),
            ("time", f"{utc(found.first_ts)} to {utc(found.last_ts)}"),
        ]
    if header.kind == "run":
        rows += [
            ("input log digest", header.input_digest or "-"),
            ("code digest", header.code_digest or "-"),
            ("output digest", found.output_digest or "none: the run was never finished"),
        ]
    kinds = tuple(
        (
            kind,
            f"{one.rows}",
            f"{one.files}",
            f"{one.bytes}",
            f"{one.bytes_per_row:.1f}",
            f"{one.first}",
            f"{one.last}",
            utc(one.first_ts),
        )
        for kind, one in found.kinds.items()
    )
    head = ("kind", "rows", "files", "bytes", "bytes a row", "first", "last", "from")
    tables = [Table("Log" if header.kind == "log" else "Run", ("what", "value"), tuple(rows)), Table("Rows by kind", head, kinds)]
    if found.instruments:
        names = sorted({kind for counts in found.instruments.values() for kind in counts})
        counted = tuple((name, *(f"{counts.get(kind, 0)}" for kind in names)) for name, counts in found.instruments.items())
        tables.append(Table("Rows by instrument", ("instrument", *names), counted))
    return tables


def verify_tables(folder: Path, *, advance: Advance) -> tuple[list[Table], bool]:
    """Verify a whole log or run: tables, and whether every promise holds.

    Raises:
        ConfigError: the folder is no log.
    """
    report = verify_log(folder, lambda done: advance(done.bytes_done, done.bytes_total))
    rows = [
        ("folder", report.folder),
        ("digest", report.digest or "-"),
        ("segments, files, rows, bytes", f"{report.segments}, {report.files}, {report.rows}, {report.bytes}"),
        ("result", _result(report)),
    ]
    if report.leftovers:
        rows.append(("leftovers", f"{len(report.leftovers)} temporary files of a writer at work or one that was interrupted"))
    tables = [Table("Verification", ("what", "value"), tuple(rows))]
    if report.findings:
        broken = tuple((one.file, "-" if one.row is None else f"{one.row}", one.what) for one in report.findings)
        tables.append(Table("Findings", ("file", "row", "what"), broken))
    return tables, report.ok


def _result(report: Report) -> str:
    if report.ok:
        return "whole: digests, chain, schema, seq, order, times, counts and scales hold"
    return f"BROKEN: {len(report.findings) + report.more_findings} findings"
