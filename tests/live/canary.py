"""What canary tests share: secrets that are no others, commands that are run with them, and a search of everything that anybody may read."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.parquet as pq

from tests.live.site import VENUES
from xarb.log.journal import Walk, journals, read_header
from xarb.log.reader import LogReader
from xarb.model.columns import INPUTS
from xarb.serve.config import KeyConfig

KEY, SECRET, PHRASE, WALLET = "canaryKEY7f3a91c2", "canarySECRET5be0d4", "canaryPHRASE8c1d7e", "canaryWALLET2b9f06"
SECRETS: Final = (KEY, SECRET, PHRASE, WALLET)
SIGNED: Final = re.compile(
    rb"(?i)(signature=|(?:x-mbx-apikey|ok-access-(?:key|sign|passphrase))['\"]?\s*[:=]\s*['\"]?)(?!\*\*\*)[^\s'\"]"
)


class Printed(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def channels(self) -> dict[str, bytes]:
        """By name."""
        return {"stdout": self.stdout, "stderr": self.stderr}


def environment() -> dict[str, str]:
    """Canaries wherever a secret may stand."""
    found = {"XARB_WALLET_HOT_PASSPHRASE": WALLET}
    for venue in VENUES:
        prefix = f"XARB_{venue.upper()}_MAIN_"
        found |= {f"{prefix}API_KEY": KEY, f"{prefix}API_SECRET": SECRET, f"{prefix}PASSWORD": PHRASE}
    return found


def keys(secret: str = SECRET) -> dict[str, KeyConfig]:
    """The served exchange's idea of them."""
    return {"it": KeyConfig(account="main", api_key=KEY, secret=secret, passphrase=PHRASE)}


async def xarb(*words: str | Path, module: str = "xarb", **more: str) -> Printed:
    """Run a command in asyncio's debug mode with canaries."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-m", module, *map(str, words)),
        env=os.environ | environment() | more,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(90):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Printed(process.returncode or 0, stdout, stderr)


def of_log(log: Path) -> dict[str, bytes]:
    """Everything of a log, as it lies there and decoded, by where it lies."""
    parquet = [repr(pq.read_table(path).to_pylist()).encode() for path in sorted(log.rglob("*.parquet"))]
    others = [path.read_bytes() for path in sorted(log.rglob("*")) if path.is_file() and path.suffix != ".journal"]
    journal = []
    for _, path in journals(log):
        data = path.read_bytes()
        opening, start = read_header(path)
        journal += [data, *(repr(frame.rows()).encode() for frame in Walk(data[start:], opening, start=start))]
    with LogReader(log) as reader:
        rows = [repr(row).encode() for kind in INPUTS if kind != "frames" for row in reader.rows(kind)]
    return {"parquet": b"".join(parquet), "files": b"".join(others), "journal": b"".join(journal), "rows": b"".join(rows)}


def leaks(channels: Mapping[str, bytes]) -> dict[str, list[str]]:
    """By channel, which canaries stand in it, and what is signed; empty when nothing leaked."""
    found = {}
    for name, text in channels.items():
        seen = [secret for secret in SECRETS if secret.encode() in text]
        seen += [text[match.start() :][:60].decode("utf-8", "replace") for match in SIGNED.finditer(text)][:3]
        if seen:
            found[name] = seen
    return found
