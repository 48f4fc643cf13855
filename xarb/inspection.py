"""The log verbs as tables: what a log holds, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xarb.console import Advance, Table, utc
from xarb.errors import ConfigError
from xarb.log.check import verify_log
from xarb.log.findings import Report
from xarb.log.info import GoneInfo, TailInfo, info
from xarb.log.manifest import Manifest
from xarb.log.prune import Pruned
from xarb.log.repair import repair
from xarb.log.signature import beside, read_signature, sign, write_signature
from xarb.log.signature import objection as signature_objection
from xarb.log.tombstones import FRAMES

_DIGEST: Final = re.compile(r"[0-9a-f]{16,64}")
_GONE: Final = ("what", "when", "by", "kinds", "files", "rows", "bytes", "seq")


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
    if found.checkpoints:
        rows.append(("checkpoints", ", ".join(str(seq) for seq in found.checkpoints)))
    if found.tail is not None:
        rows += _tail_rows(found.tail)
    tables = [Table("Log" if header.kind == "log" else "Run", ("what", "value"), tuple(rows)), Table("Rows by kind", head, kinds)]
    if found.gone:
        tables.append(Table("Gone; the chain keeps its digests", _GONE, tuple(_gone_row(one) for one in found.gone)))
    if found.instruments:
        names = sorted({kind for counts in found.instruments.values() for kind in counts})
        counted = tuple((name, *(f"{counts.get(kind, 0)}" for kind in names)) for name, counts in found.instruments.items())
        tables.append(Table("Rows by instrument", ("instrument", *names), counted))
    return tables


def _gone_row(one: GoneInfo) -> tuple[str, ...]:
    where = one.reason if one.to is None else f"{one.reason} to {one.to}"
    return (
        where,
        utc(one.ts),
        one.by,
        ", ".join(one.kinds),
        f"{one.files}",
        f"{one.rows}",
        f"{one.bytes}",
        f"{one.first} to {one.last}",
    )


def _tail_rows(tail: TailInfo) -> list[tuple[str, str]]:
    """What stands in journals."""
    state = "being written" if tail.is_being_written else "its writer died; the next start or xarb log repair seals it"
    counted = ", ".join(f"{count} {kind}" for kind, count in tail.rows.items()) or "no rows"
    rows = [("open tail", state), ("journals, bytes", f"{len(tail.journals)}, {tail.bytes}"), ("rows in the tail", counted)]
    if tail.rows:
        rows.append(("tail ends", f"seq {tail.last_seq} at {utc(tail.last_ts)}"))
    if tail.torn_bytes:
        rows.append(("torn", f"{tail.torn_bytes} bytes behind the last sound frame"))
    return rows


def verify_tables(
    folder: Path, *, had: Sequence[str] = (), signed_by: str | None = None, signature: Path | None = None, advance: Advance
) -> tuple[list[Table], bool]:
    """Verify a whole log or run: tables, and whether every promise holds.

    Args:
        folder: the log or run.
        had: digests that it had once, or their first 16 digits and more: its chain must still come by them.
        signed_by: the public key that must have signed a line by which its chain comes; None: nobody need have.
        signature: file of the signature; None: beside the log.
        advance: progress.

    Raises:
        ConfigError: the folder is no log, or a digest, a key or a signature is none.
    """
    report = verify_log(folder, lambda done: advance(done.bytes_done, done.bytes_total))
    rows = [
        ("folder", report.folder),
        ("digest", report.digest or "-"),
        ("segments, files, rows, bytes", f"{report.segments}, {report.files}, {report.rows}, {report.bytes}"),
        ("result", _result(report)),
    ]
    lost = [one for one in had if not _has(folder, one, is_sound=report.digest is not None)]
    rows += [
        ("came by", f"{one}: {'NO: what was written before is not there, or is another' if one in lost else 'yes'}") for one in had
    ]
    objection = None
    if signed_by is not None:
        objection, told = _signed(folder, signed_by, signature, is_sound=report.digest is not None)
        rows.append(("signed", told))
    if report.gone_files:
        rows.append(("pruned or archived: files, rows", f"{report.gone_files}, {report.gone_rows}; tombstones cover them"))
    if report.leftovers:
        what = "files of a writer at work, an interrupted one, or an interrupted pruning, or damaged journals kept"
        rows.append(("leftovers", f"{len(report.leftovers)} {what}"))
    if report.checkpoints:
        rows.append(("checkpoints", f"{report.checkpoints}"))
    if report.tail_bytes:
        rows.append(("open tail: rows, bytes", f"{report.tail_rows}, {report.tail_bytes}; every frame checked"))
    if report.torn_bytes:
        rows.append(
            ("torn", f"{report.torn_bytes} bytes at the end of the journal: a frame under way, or cut off; never acknowledged")
        )
    tables = [Table("Verification", ("what", "value"), tuple(rows))]
    if report.findings:
        broken = tuple((one.file, "-" if one.row is None else f"{one.row}", one.what) for one in report.findings)
        tables.append(Table("Findings", ("file", "row", "what"), broken))
    return tables, report.ok and not lost and objection is None


def _signed(folder: Path, signed_by: str, file: Path | None, *, is_sound: bool) -> tuple[str | None, str]:
    """What keeps a signature from vouching for a log, None if nothing, and what is to be said of it."""
    path = file or beside(folder)
    signature = read_signature(path)
    found = Manifest(folder) if is_sound else None
    why = "the manifest cannot be read" if found is None else signature_objection(signature, found, signed_by)
    if found is None or why is not None:
        return why, f"NO: {path}: {why}"
    behind = len(found.heads) - 1 - found.heads.index(signature.digest)
    rest = "nothing behind it" if behind == 0 else f"{behind} lines behind it are not covered"
    return None, f"yes, up to digest {signature.digest}; {rest}"


def signed_table(folder: Path, seed: bytes, to: Path | None) -> Table:
    """Sign a log's head, write the signature, and say what was done.

    Raises:
        ConfigError: the folder is no log, or the signature cannot be written.
        LogError: the manifest is damaged.
    """
    made, path = sign(folder, seed), to or beside(folder)
    write_signature(made, path)
    rows = (("folder", str(folder)), ("digest", made.digest), ("signed by", made.signed_by), ("signature", str(path)))
    return Table("Signed; the rows of a journal are not covered until they are sealed", ("what", "value"), rows)


def _has(folder: Path, digest: str, *, is_sound: bool) -> bool:
    """Whether the chain comes by a digest; of a manifest that cannot be read nothing is believed."""
    if not _DIGEST.fullmatch(digest):
        raise ConfigError(f"--had {digest}: no digest; that is 16 to 64 hexadecimal digits, as xarb log info prints them")
    return is_sound and any(head.startswith(digest) for head in Manifest(folder).heads)


def repair_table(folder: Path) -> Table:
    """Mend a log's journals and say what was done.

    Raises:
        ConfigError: the folder is no log.
        LogError: a writer is at work, or what is damaged is no journal.
    """
    done = repair(folder)
    rows = [
        ("folder", str(folder)),
        ("segments sealed", f"{done.sealed}"),
        ("rows of damaged journals", f"{done.rows} kept, {done.lost} lost, {done.left_out} left out: what they refer to is lost"),
        ("damaged files, kept", ", ".join(done.kept) or "none: the journals were sound"),
    ]
    return Table("Repair", ("what", "value"), tuple(rows))


def pruned_table(done: Pruned, *, dry_run: bool) -> Table:
    """What a pruning or an archiving removed, or would remove."""
    kinds = dict.fromkeys(kind for part in done.parts for kind in part.kinds)
    segments = [f"{part.first} to {part.last} ({'frames' if part.kinds == FRAMES else 'inputs'})" for part in done.parts]
    rows = [
        ("folder", done.folder),
        ("before", utc(done.before)),
        ("segments", ", ".join(segments) or "none: nothing that may go ends before that"),
    ]
    if kinds:
        rows += [
            ("kinds", ", ".join(kinds)),
            ("files, rows, bytes", f"{done.files}, {done.rows}, {done.bytes}"),
            ("left whole", f"from seq {done.first_left} on"),
        ]
    if done.starts and kinds:
        rows.append(("no longer proven by replay", f"starts {', '.join(map(str, done.starts))}"))
    if done.kept_whole is not None:
        rows.append(("kept", f"segment {done.kept_whole}, which goes on behind that time"))
    if done.completed:
        rows.append(("completed", f"{done.completed} files of an interrupted pruning"))
    if done.to is not None:
        rows.append(("archive", done.to))
    if dry_run:
        rows.append(("result", "nothing was done: a dry run"))
    return Table("Archive" if done.to is not None else "Prune", ("what", "value"), tuple(rows))


def _result(report: Report) -> str:
    if report.ok:
        return "whole: digests, chain, schema, seq, order, times, counts and scales hold"
    return f"BROKEN: {len(report.findings) + report.more_findings} findings"
