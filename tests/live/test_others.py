"""Others on an account of ours, while real orders are sent at two served exchanges: a second xarb, and who else trades there."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.site import QUICK, Site, account_at, account_order, filled, site, traded
from tests.trial import quiet
from xarb.board import Board
from xarb.config import load_experiment
from xarb.errors import Killed, Refused
from xarb.live import requests
from xarb.live.exchanges import keys_of, locked
from xarb.live.kill import reset
from xarb.live.session import Session
from xarb.log.reader import LogReader
from xarb.sources import market_sources
from xarb.starts import LIVE
from xarb.venues import accountdesk
from xarb.venues.accountlock import AccountLocks
from xarb.verbs.verify import verify

RIVAL = "ffffffff-1-1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is compared every second."""
    monkeypatch.setattr(accountdesk, "RECONCILE_S", 1.0)
    monkeypatch.setattr(accountdesk, "POLL_S", 0.1)


def kills(log: Path) -> list[tuple[str, str]]:
    """Actor and detail of each kill."""
    with LogReader(log) as reader:
        return [(row["actor"], row["detail"] or "") for row in reader.rows("operator") if row["action"] == "kill"]


def killed(session: Session) -> bool:
    """Whether a kill came at which the process goes on."""
    return session.was_killed


def once_it_trades(act: Callable[[], object]) -> Callable[[Session], bool]:
    """Do something after the first bundle; then whether a kill came."""
    waits = [act]

    def seen(session: Session) -> bool:
        if waits and session.summary.bundles:
            waits.pop()()
        return killed(session)

    return seen


def test_a_second_log_is_refused_while_the_first_trades(tmp_path: Path) -> None:
    """With the first one's process and log in the message; when that has ended the second one trades. The end frees the account."""
    first, second = tmp_path / "first", tmp_path / "second"
    other, found = AccountLocks(first), list[str]()

    async def story() -> None:
        async with site(tmp_path) as at:
            experiment = load_experiment(at.config)
            mine = locked(keys_of(experiment, market_sources(experiment)), market_sources(experiment))

            def is_held(session: Session) -> bool:
                if not found and session.summary.bundles:
                    with pytest.raises(Refused) as error:
                        other.take(mine)
                    found.append(f"{error.value}")
                return bool(found)

            other.take(mine)
            with pytest.raises(
                Refused, match=rf"main at alpha: process {os.getpid()} with the log {first} trades with this key already"
            ):
                await traded(at, second, filled(1))
            other.release()
            await traded(at, second, is_held)
            other.take(mine)
            other.release()

    asyncio.run(story())
    assert f"with the log {second} trades with this key" in found[0]


def test_a_rival_of_another_machine_ends_new_bundles(tmp_path: Path) -> None:
    """An order with the name of another log comes to the account while this one trades: a kill to `entries` that holds and says why."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            tasks: list[asyncio.Task[None]] = []

            def rival() -> None:
                tasks.append(asyncio.ensure_future(account_order(at, "alpha", RIVAL)))

            session = await traded(at, log, once_it_trades(rival))
            await tasks[0]
            assert session.was_killed
            with pytest.raises(Killed, match=f"account: another xarb trades on main at alpha: its order {RIVAL}"):
                await traded(at, log, filled(1))
            reset(log)
            with pytest.raises(Refused, match=f"its order {RIVAL} on BTC/USDT is open"):  # it is there still
                await traded(at, log, filled(1))

    asyncio.run(story())
    [(actor, detail)] = kills(log)
    assert (actor, detail.partition(":")[0]) == ("account", "entries")
    assert verify(log, advance=quiet).equal


@pytest.mark.parametrize("is_copy", [False, True])
def test_two_that_begin_at_once_on_two_machines_stop_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_copy: bool
) -> None:
    """With logs of their own, or with copies of one log, whose orders have the same names: each sees the other's first order, and ends its bundles.

    Neither takes an order of the other for its own, nor cancels it; every bundle comes to its end, and both logs are proven.
    """
    monkeypatch.setattr(AccountLocks, "take", lambda *_: None)  # another machine has locks of its own
    logs = tmp_path / "first", tmp_path / "second"

    async def story() -> None:
        async with site(tmp_path) as at:
            if is_copy:
                await traded(at, logs[0], filled(1))
                shutil.copytree(*logs)
            sessions = [Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK) for log in logs]
            tasks = [asyncio.create_task(one.run(None, Board(None))) for one in sessions]
            async with asyncio.timeout(60):
                while not all(one.was_killed and not one.open_bundles() for one in sessions):  # no event
                    assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
                    await asyncio.sleep(0.02)
                for log in logs:
                    requests.ask(log, "stop")
                await asyncio.gather(*tasks)

    asyncio.run(story())
    for log in logs:
        found = dict(kills(log))
        assert found.keys() <= {"account", "others"}  # and what the other one traded is too much
        detail = found["account"]
        assert detail.startswith("entries: ")
        assert ("a copy of this log trades" in detail) is is_copy
        with LogReader(log) as reader:
            last = [row["number"] for row in reader.rows("starts")][-1]
            sent = [
                row
                for _, row in reader.outputs(kinds=("commands",))
                if row["kind"] == "submit" and row["client_order_id"].split("-")[1] == f"{last}"
            ]
            told = [row for row in reader.rows("reports") if row["event"] == "fill" and row["start"] == last]
            assert {row["order"] for row in told} <= {row["order"] for row in sent}
            assert "order_after_end" not in {row["metric"] for row in reader.rows("health")}
        assert verify(log, advance=quiet).equal


async def buy(at: Site, venue: str, quantity: str) -> None:
    """A purchase by hand on the account, at whatever the market asks."""
    order = {"type": "LIMIT", "timeInForce": "GTC", "quantity": quantity, "price": "150", "newClientOrderId": "web_1"}
    async with account_at(at, venue) as account:
        await account.client.privatePostOrder({"symbol": "BTCUSDT", "side": "BUY"} | order)


def test_who_trades_much_by_hand_ends_new_bundles(tmp_path: Path) -> None:
    """What others' fills come to is bounded: a kill to `entries` that says so; what they bought is in our books, and nothing differs."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            tasks: list[asyncio.Task[None]] = []
            await traded(at, log, once_it_trades(lambda: tasks.append(asyncio.ensure_future(buy(at, "bravo", "5")))))
            await tasks[0]
            with pytest.raises(Killed, match="others: others traded on main at bravo: their fills of this day come to"):
                await traded(at, log, filled(1))

    asyncio.run(story())
    assert [(actor, detail.partition(":")[0]) for actor, detail in kills(log)] == [("others", "entries")]
    with LogReader(log) as reader:
        assert "others" in {row["metric"] for row in reader.rows("health")}
        assert not [row for row in reader.rows("operator") if row["action"] == "discrepancy"]
    assert verify(log, advance=quiet).equal


def test_what_a_person_trades_between_two_starts_is_no_strangers(tmp_path: Path) -> None:
    """Far beyond what others may trade: the next start trades, and nothing differs, since what was told explains it."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            await traded(at, log, filled(1))
            await buy(at, "bravo", "2")
            session = await traded(at, log, filled(1))
            assert not session.was_killed
            assert session.assembly.ground.foreign == ()

    asyncio.run(story())
    with LogReader(log) as reader:
        assert [row for row in reader.rows("reports") if row["start"] is None and row["event"] == "fill"]
    assert kills(log) == []
    assert verify(log, advance=quiet).equal


def test_what_a_rival_did_before_the_start_is_nothing_to_fear(tmp_path: Path) -> None:
    """An order of another log that was filled and is over: this account traded with that one before."""

    async def story() -> None:
        async with site(tmp_path) as at:
            await traded(at, tmp_path / "before", filled(2))
            session = await traded(at, tmp_path / "log", filled(1))
            assert not session.was_killed

    asyncio.run(story())
    assert kills(tmp_path / "log") == []
