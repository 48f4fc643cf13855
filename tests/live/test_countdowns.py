"""Real orders at a served OKX, which cancels everything of the account when it does not hear from us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.live.site import VENUES, Site, filled, site, statuses, traded
from tests.trial import quiet
from xarb.config import load_experiment
from xarb.errors import ConfigError, Refused
from xarb.live.exchanges import accounts_of
from xarb.live.session import Session
from xarb.log.reader import LogReader
from xarb.model.units import NANOS_PER_S
from xarb.serve.clock import WallClock
from xarb.serve.faults import Fault
from xarb.serve.orders import LIMIT, Intent
from xarb.sources import market_sources
from xarb.venues.readiness import KEYS
from xarb.verbs.verify import verify

PATH = "POST /api/v5/trade/cancel-all-after"


class Jumping(WallClock):
    """The machine's clock; a test lets more pass, for countdowns alone."""

    passed_ns = 0

    def mono_ns(self) -> int:
        """With what a test let pass."""
        return super().mono_ns() + self.passed_ns


@asynccontextmanager
async def mixed(folder: Path, *faults: Fault, clock: WallClock | None = None) -> AsyncIterator[Site]:
    """Binance at alpha, OKX at bravo, whose requests are kept."""
    plan = {"wires": {"bravo": "okx"}, "requests": folder / "requests.jsonl"}
    async with site(folder, faults, clock=clock, plan=plan) as at:
        yield at


def kept(folder: Path) -> list[dict[str, Any]]:
    """Requests and replies that the exchanges kept."""
    return [msgspec.json.decode(line) for line in (folder / "requests.jsonl").read_bytes().splitlines()]


def health(log: Path) -> list[tuple[str, int, str]]:
    """Readings of countdowns in a log."""
    with LogReader(log) as reader:
        return [
            (row["metric"], row["value"], row["detail"])
            for row in reader.rows("health")
            if row["metric"].startswith("cancel_after")
        ]


def acts(log: Path) -> list[tuple[str, str]]:
    """What operators did, with the reasons; not which keys are used."""
    with LogReader(log) as reader:
        return [(row["action"], row["detail"] or "") for row in reader.rows("operator") if row["action"] != KEYS]


def rest(at: Site) -> None:
    """An order of the account that rests at bravo, far from the market."""
    number = next(n for n, one in enumerate(at.server.market.instruments) if one.venue == "bravo")
    intent = Intent(
        account="main", number=number, buy=True, kind=LIMIT, tif="gtc", price_int=5_000, qty_int=50_000, client_id="rests"
    )
    assert at.server.desk.place(intent).is_open


def test_set_before_the_first_order_and_switched_off_at_a_clean_stop(tmp_path: Path) -> None:
    """The exchange was asked for it before any order and for 0 at last; what others have there rests on; the log tells and proves itself."""
    log = tmp_path / "log"

    async def story() -> None:
        async with mixed(tmp_path) as at:
            await traded(at, log, filled(2))
            assert (await at.ask("bravo", "status"))["countdowns"] == 0
            rest(at)
            await traded(at, log, filled(1))
            assert (await statuses(at, "bravo"))["rests"] == "NEW"
            kinds = {order["tif"] for venue in VENUES for order in await at.ask(venue, "orders") if order["client_id"] != "rests"}
            assert kinds == {"ioc"}, "nothing of ours can outlive us at an exchange without a countdown"

    asyncio.run(story())
    asked = [one["name"] for one in kept(tmp_path) if one["venue"] == "bravo" and one["way"] == "request"]
    orders = [n for n, name in enumerate(asked) if name.startswith("POST /api/v5/trade/") and "order" in name]
    lengths = [
        msgspec.json.decode(one["body"])["timeOut"] for one in kept(tmp_path) if one["way"] == "request" and one["name"] == PATH
    ]
    assert orders[0] > asked.index(PATH)
    assert lengths == [60, 0, 60, 0]
    assert [one[:2] for one in health(log)] == [("cancel_after_ms", 60_000), ("cancel_after_ms", 0)] * 2
    assert verify(log, advance=quiet).equal


def test_a_process_that_dies_has_its_orders_canceled_by_the_exchange(tmp_path: Path) -> None:
    """SIGKILL: what rests at OKX stands for a while and is gone when the countdown has run out; the next start sets it again."""
    log, clock = tmp_path / "log", Jumping()

    async def story() -> None:
        async with mixed(tmp_path, clock=clock) as at:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "xarb", "live", str(at.config), "--out", str(log), "--live", "--account", "main"),
                stdout=subprocess.DEVNULL,
            )
            async with asyncio.timeout(90):
                while not await at.ask("bravo", "orders"):
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
            rest(at)
            process.kill()
            await process.wait()
            assert (await at.ask("bravo", "status"))["countdowns"] == 1
            clock.passed_ns += 40 * NANOS_PER_S
            assert await settled(at) == "NEW"
            clock.passed_ns += 21 * NANOS_PER_S
            async with asyncio.timeout(10):
                while await settled(at) != "CANCELED":
                    pass
            assert (await at.ask("bravo", "status"))["countdowns"] == 0
            await traded(at, log, filled(1))

    async def settled(at: Site) -> str:
        await asyncio.sleep(0.3)  # some beats of the exchange, which looks at its countdowns at each
        return (await statuses(at, "bravo"))["rests"]

    asyncio.run(story())
    assert [value for _, value, _ in health(log)] == [60_000, 60_000, 0]
    assert verify(log, advance=quiet).equal


def test_one_that_may_have_run_out_disarms_until_everything_is_compared_and_it_runs_again(tmp_path: Path) -> None:
    """The exchange does not take it for longer than it lasts: the reasons are in the log, trading goes on after it, all of it proven."""
    log = tmp_path / "log"
    fault = Fault(kind="status", on=PATH, after=2, count=7, status=503, code=50001)

    def again(session: Session) -> bool:
        desk = session.exchanges.venues["bravo"].desks["main"] if session.exchanges and session.exchanges.venues else None
        if desk is not None and desk.countdown is not None and desk.countdown.objection is not None:
            seen.append(session.summary.bundles)
        return bool(seen) and not (desk and desk.objections) and session.summary.bundles > seen[-1]

    seen: list[int] = []

    async def story() -> None:
        async with mixed(tmp_path, fault) as at:
            at.config.write_text(at.config.read_text().replace("[live]", "[live]\ncancel_after_ms = 10000"))
            await traded(at, log, again)

    asyncio.run(story())
    assert seen[-1] - seen[0] <= 1, "nothing new begins meanwhile, but for a bundle that was decided on already"
    why = "the countdown of main may have run out and canceled its orders"
    assert acts(log)[:3] == [("arm", "every market speaks"), ("disarm", why), ("arm", "nothing speaks against it any more")]
    assert [one[:2] for one in health(log)] == [
        ("cancel_after_ms", 10_000),
        ("cancel_after_failed", 1),
        ("cancel_after_ms", 0),
        ("cancel_after_failed", 0),
        ("cancel_after_ms", 10_000),
        ("cancel_after_ms", 0),
    ]
    asked = [
        one["name"] for one in kept(tmp_path) if one["venue"] == "bravo" and one["way"] == "request" and "time" not in one["name"]
    ]
    last = len(asked) - 1 - asked[::-1].index(PATH)  # it was switched off at the end
    back = last - 1 - asked[:last][::-1].index(PATH)
    assert "GET /api/v5/trade/orders-pending" in asked[:back]
    assert verify(log, advance=quiet).equal


def test_no_start_without_the_countdown(tmp_path: Path) -> None:
    """The exchange refuses it: no real orders, by name."""
    fault = Fault(kind="status", on=PATH, after=1, count=0, status=401, code=50110)

    async def story() -> None:
        async with mixed(tmp_path, fault) as at:
            with pytest.raises(Refused, match=r"no real orders: main at bravo: no countdown: .*50110"):
                await traded(at, tmp_path / "log", filled(1))
            assert await at.ask("bravo", "orders") == []

    asyncio.run(story())


def test_a_start_that_does_not_come_about_leaves_no_countdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails behind it has it switched off, so that orders of others on the account stand."""

    def broken(*_: object, **__: object) -> None:
        raise ConfigError("something does not fit")

    monkeypatch.setattr("xarb.live.session.begin", broken)

    async def story() -> None:
        async with mixed(tmp_path) as at:
            with pytest.raises(ConfigError, match="does not fit"):
                await traded(at, tmp_path / "log", filled(1))
            assert (await at.ask("bravo", "status"))["countdowns"] == 0

    asyncio.run(story())
    assert sum(one["name"] == PATH and one["way"] == "request" for one in kept(tmp_path)) >= 2


def test_the_length_of_the_countdown_is_the_configs(tmp_path: Path) -> None:
    """`live.cancel_after_ms` as the exchange hears it; 0 asks for none; one that it does not take is refused with the key."""
    log = tmp_path / "log"

    async def story() -> None:
        async with mixed(tmp_path) as at:
            plain = at.config.read_text()
            at.config.write_text(plain.replace("[live]", "[live]\ncancel_after_ms = 0"))
            await traded(at, log, filled(1))
            assert not any(one["name"] == PATH for one in kept(tmp_path))
            assert health(log) == []
            at.config.write_text(plain.replace("[live]", "[live]\ncancel_after_ms = 5000"))
            experiment = load_experiment(at.config)
            with pytest.raises(
                ConfigError, match=r"live: cancel_after_ms = 5000: okx takes 0, or whole seconds from 10000 to 120000"
            ):
                accounts_of(experiment, market_sources(experiment), {})
            at.config.write_text(plain.replace("[live]", "[live]\ncancel_after_ms = 20000"))
            await traded(at, log, filled(1))

    asyncio.run(story())
    replies = [
        msgspec.json.decode(one["body"])["data"][0] for one in kept(tmp_path) if one["way"] == "reply" and one["name"] == PATH
    ]
    assert int(replies[0]["triggerTime"]) - int(replies[0]["ts"]) == 20_000
