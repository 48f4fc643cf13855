"""`xarb check` before live trading, from the command line at served exchanges."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from tests.live.site import Site, site
from tests.serve.site import KEY, SECRET
from xarb.serve.config import KeyConfig
from xarb.serve.faults import Fault


async def checked(at: Site, measure: str = "100ms") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xarb", "check", str(at.config), "--measure", measure),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def test_check_says_how_exchanges_and_accounts_stand(tmp_path: Path) -> None:
    """From the command line: distance and clock, rights, true fees, balances, gigabytes a day, and what could trade."""

    async def story() -> tuple[int, str, str]:
        async with site(tmp_path) as at:
            return await checked(at, "1s")

    code, out, err = asyncio.run(story())
    assert code == 0, out + err
    assert "can trade: yes, can withdraw: no" in out
    assert "BTC/USDT 0.001 taker in received" in out
    assert "main\talpha\tUSDT\t100000\t0" in out
    assert any(line.startswith("alpha\tBTC\t") and line.endswith("\topen\topen") for line in out.splitlines())
    assert "GB a day" in out
    assert "ready: 2 of 2 pairs and instruments of cycles can trade" in err


def test_check_says_what_forbids_real_orders(tmp_path: Path) -> None:
    """A venue whose clock is wrong and a key that only reads: exit code 1, both are named, and everything else is still shown."""
    keys = {"read": KeyConfig(account="main", api_key=KEY, secret=SECRET, permissions=("read",))}
    faults = (Fault(kind="clock_offset", at_s=Decimal(0), offset_ms=300, venue="bravo"),)

    async def story() -> tuple[int, str, str]:
        async with site(tmp_path, faults, keys=keys) as at:
            return await checked(at)

    code, out, err = asyncio.run(story())
    assert code == 1
    assert re.search(r"the clock of bravo is (299|300)\.\d ms from ours", err)
    assert "main at alpha: the key may not trade" in err
    assert "bravo / alpha" in out or "BTC/USDT@bravo" in out


def test_check_on_paper_shows_a_wrong_clock_and_forbids_nothing(tmp_path: Path) -> None:
    """The bound is of real orders; on paper a clock that is off is a figure in a table."""
    faults = (Fault(kind="clock_offset", at_s=Decimal(0), offset_ms=300, venue="bravo"),)

    async def story() -> tuple[int, str, str]:
        async with site(tmp_path, faults) as at:
            at.config.write_text(at.config.read_text().replace('mode = "live"', 'mode = "paper"') + "USDT = 1000\nBTC = 1\n")
            return await checked(at)

    _, out, err = asyncio.run(story())
    assert "no real orders" not in err
    assert re.search(r"^bravo\tbinance\t.*\t(299|300)\.\d ms\t1$", out, re.MULTILINE)
