"""Real orders, signed and sent through ccxt, at two served exchanges that replay a log: proven by replay, true to the exchanges' own books."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.instruments import spot
from tests.live.site import CONFIG, QUICK, TRADED, VENUE, VENUES, Site, account_order, filled, left_order, site, statuses, traded
from tests.serve.site import KEY, SECRET
from tests.trial import quiet
from xarb.board import Board
from xarb.config import load_experiment
from xarb.engine.feechange import FEE
from xarb.errors import ConfigError, Killed, LogError, Refused
from xarb.live.ending import Ending
from xarb.live.exchanges import Exchanges, accounts_of
from xarb.live.kill import kill
from xarb.live.session import Session
from xarb.live.verb import check_wanted
from xarb.log.check import verify_log
from xarb.log.reader import LogReader
from xarb.model.order import ORDER_TERMINAL
from xarb.serve.binance import order_shapes
from xarb.serve.config import KeyConfig
from xarb.serve.exchange import Exchange
from xarb.serve.faults import Fault
from xarb.sources import market_sources
from xarb.starts import LIVE
from xarb.venues.account import Account
from xarb.venues.readiness import KEYS
from xarb.verbs.verify import verify
from xarb.wires.decimals import Listing


def fills_of(log: Path) -> dict[str, set[tuple[str, str, int, int, int, str]]]:
    """By venue: (client id, trade id, price, quantity, fee, its coin) of every fill that the log's engine booked, or was reported."""
    found: dict[str, set[tuple[str, str, int, int, int, str]]] = {venue: set() for venue in VENUES}
    with LogReader(log) as reader:
        for row in reader.rows("reports"):
            if row["event"] == "fill":
                what = (row["client_order_id"], row["fill_id"], row["price"], row["qty"], row["fee"], row["fee_asset"])
                assert what not in found[row["venue"]], "a fill was reported twice"
                found[row["venue"]].add(what)
    return found


def money(text: str) -> int:
    """Exact money of a decimal text."""
    whole = Fraction(text) * 10**18
    assert whole.denominator == 1
    return whole.numerator


async def theirs(at: Site) -> dict[str, set[tuple[str, str, int, int, int, str]]]:
    """The same by the exchanges' own books."""
    found = {}
    for venue in VENUES:
        found[venue] = {
            (order["client_id"], str(f["trade_id"]), money(f["price"]), money(f["qty"]), money(f["fee"]), f["fee_asset"])
            for order in await at.ask(venue, "orders")
            for f in order["fills"]
        }
    return found


def test_real_orders_are_proven_and_true_to_the_exchanges_books(tmp_path: Path) -> None:
    """Two starts on one log: every command again by replay, every fill as the exchange has it, balances equal to the last digit."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            first = await traded(at, log, filled(4))
            assert first.assembly.opening["main", "alpha", "USDT"] == money("100000")
            second = await traded(at, log, filled(2))
            for venue in VENUES:
                told = (await at.ask(venue, "balances"))["main"]
                ours = {key[2]: value for key, value in second.assembly.engine.portfolio.balances().items() if key[1] == venue}
                assert {asset: money(value) for asset, value in told.items()} == ours
            assert fills_of(log) == await theirs(at)
            assert sum(map(len, fills_of(log).values())) >= 12

    asyncio.run(story())
    assert verify_log(log).ok
    proof = verify(log, advance=quiet)
    assert [(row[0], row[1], row[-1]) for row in proof.tables[0].rows] == [("1", "live", "equal"), ("2", "live", "equal")]
    with LogReader(log) as reader:
        assert not any(kind == "sim_reports" for kind, _ in reader.outputs())
        states = {(row["after_seq"] > 0, row["order"]): row["state"] for kind, row in reader.outputs() if kind == "orders"}
        assert set(states.values()) <= ORDER_TERMINAL
        tiers = {row["number"]: row["config"] for row in reader.rows("starts")}
    assert '"maker_ppb":1000000' in tiers[1], "the account's true fees are in the start"


FAULTS = (
    Fault(kind="drop_reply", on="POST /api/v3/order", after=2, count=1),
    Fault(kind="truncate", on="POST /api/v3/order", after=4, count=1),
    Fault(kind="status", on="POST /api/v3/order", after=6, count=1, status=503, code=-1000),
    Fault(kind="duplicate", on="executionReport", after=3, count=4),
    Fault(kind="gap", on="executionReport", after=9, count=2),
    Fault(kind="close", on="executionReport", after=14, count=1),
)


def test_with_faults_nothing_is_sent_twice_or_forgotten(tmp_path: Path) -> None:
    """Lost replies, half ones, 503, doubled and lost pushes, a lost private stream: the books agree and the log proves itself."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path, FAULTS) as at:
            await traded(at, log, filled(8))
            assert fills_of(log) == await theirs(at)
            for venue in VENUES:
                sent = [order["client_id"] for order in await at.ask(venue, "orders")]
                assert len(sent) == len(set(sent))

    asyncio.run(story())
    assert verify(log, advance=quiet).equal


@pytest.mark.parametrize("is_stopping", [False, True])
def test_a_log_that_fails_leaves_no_order_at_the_exchanges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_stopping: bool
) -> None:
    """Nothing can be logged any more, in the middle or during a stop: what may still fill is canceled there, and the error is told."""
    log = tmp_path / "log"
    canceled: list[bool] = []
    cancel_open = Exchanges.cancel_open

    async def seen(exchanges: Exchanges) -> None:
        await cancel_open(exchanges)
        canceled.append(True)

    monkeypatch.setattr(Exchanges, "cancel_open", seen)

    async def story() -> None:
        async with site(tmp_path) as at:
            session = Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK)

            def broken() -> None:
                raise LogError("the disk is gone")

            def until(session: Session) -> bool:
                if filled(1)(session) and "write" not in vars(session.log):
                    session.log.write = broken  # type: ignore[method-assign]  # the disk fails from now on
                    if is_stopping:
                        os.kill(os.getpid(), signal.SIGINT)
                return False

            task = asyncio.create_task(session.run(None, Board(None)))
            async with asyncio.timeout(60):
                while not task.done() and not (hasattr(session, "summary") and until(session)):  # noqa: ASYNC110  # no event
                    await asyncio.sleep(0.02)
                with pytest.raises(LogError, match=r"the disk is gone; .*KILL keeps back its next start"):
                    await task
            after = Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK)
            ending = await asyncio.wait_for(after.run(None, Board(None)), 60)
            assert (ending.actor, ending.killed, after.summary.bundles) == ("the file KILL", True, 0)
            with pytest.raises(Killed, match="killed by the file KILL"):
                await traded(at, log, filled(1))

    asyncio.run(story())
    assert canceled == [True]


def test_a_process_killed_while_trading_forgets_no_order(tmp_path: Path) -> None:
    """SIGKILL of the command line while real orders are out: the next start finds every order's fate, and sends none of them again."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            for pause in (0.3, 0.9):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "xarb", "live", str(at.config), "--out", str(log), "--live", "--account", "main"),
                    stdout=subprocess.DEVNULL,
                )
                async with asyncio.timeout(90):
                    before = sum([len(await at.ask(venue, "orders")) for venue in VENUES])
                    while sum([len(await at.ask(venue, "orders")) for venue in VENUES]) < before + 4:
                        assert process.returncode is None
                        await asyncio.sleep(0.02)
                await asyncio.sleep(pause)
                process.kill()
                await process.wait()
            await traded(at, log, filled(1))
            assert fills_of(log) == await theirs(at)
            for venue in VENUES:
                sent = [order["client_id"] for order in await at.ask(venue, "orders")]
                assert len(sent) == len(set(sent))

    asyncio.run(story())
    assert verify_log(log).ok
    assert [row[-1] for row in verify(log, advance=quiet).tables[0].rows] == ["equal"] * 3


def test_orders_keep_their_price_and_size_when_scales_grow(tmp_path: Path) -> None:
    """A finer price and a finer size are seen while trading: the orders after it say the same as those before, not a hundred times as much."""
    log = tmp_path / "log"
    finer = [Listing(spot(venue, lot_int=10), px_scale=4, qty_scale=6) for venue in VENUES]
    grown: list[int] = []

    def seen(session: Session) -> bool:
        if not grown and session.summary.bundles >= 1 and not session.open_bundles():
            grown.append(session.summary.bundles)
            for listing in finer:
                session.intake.announce(listing)
        return bool(grown) and session.summary.bundles >= grown[0] + 2

    async def story() -> None:
        async with site(tmp_path) as at:
            session = await traded(at, log, seen)
            assert [one.px_scale for one in session.assembly.engine.instruments] == [4, 4]
            for venue in VENUES:
                orders = await at.ask(venue, "orders")
                assert all(95 < Decimal(order["price"]) < 106 for order in orders)
                assert all(Decimal(order["qty"]) < 3 for order in orders)
            assert fills_of(log) == await theirs(at)
            assert len(fills_of(log)["alpha"]) >= 3

    asyncio.run(story())
    assert verify(log, advance=quiet).equal


def test_a_clock_that_goes_wrong_disarms_until_it_is_right_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row says which clock and how far it is off; the session goes on, and its orders when the clock is right."""
    monkeypatch.setattr("xarb.venues.accountdesk.CLOCK_S", 0.0)
    monkeypatch.setattr("xarb.venues.accountdesk.POLL_S", 0.1)
    log = tmp_path / "log"
    acts: list[tuple[str, str, str]] = []
    faults = (Fault(kind="clock_offset", at_s=Decimal(8), for_s=Decimal(2), offset_ms=300, venue="bravo"),)

    def rearmed(session: Session) -> bool:
        if not acts:
            acts.append(("", "", ""))
            put = session.intake.put

            def noted(kind: str, values: tuple[Any, ...]) -> None:
                if kind == "operator":
                    acts.append(values)
                put(kind, values)

            session.intake.put = noted  # type: ignore[method-assign]  # watched from outside, passed on as it is
        return len(acts) > 3 and acts[3][0] == "arm"

    async def story() -> None:
        async with site(tmp_path, faults) as at:
            await traded(at, log, rearmed)

    asyncio.run(story())
    with LogReader(log) as reader:
        said = [(row["action"], row["actor"], row["detail"]) for row in reader.rows("operator") if row["action"] != KEYS]
    assert [one[:2] for one in said[:3]] == [("arm", "start"), ("disarm", "session"), ("arm", "session")]
    assert re.match(r"the clock of bravo is (29|30)\d\.\d ms from ours, 50 ms are allowed", said[1][2])
    assert verify(log, advance=quiet).equal


def test_networks_and_fees_are_asked_for_anew_while_trading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `live.wallets_ms` and `live.fees_ms`; what closed, and what is dearer, is in the log within that time, once.

    Neither is traded on from there on, each under its own name.
    """
    log = tmp_path / "log"
    closed, dear, ends = list[bool](), list[bool](), list[float]()
    coin = order_shapes.coin

    def shape(asset: str, free: int, held: int, *, is_open: bool) -> dict[str, Any]:
        return coin(asset, free, held, is_open=is_open and not (closed and asset == "BTC"))

    monkeypatch.setattr(order_shapes, "coin", shape)
    fees = Exchange.fees

    def dearer(self: Exchange, account: str) -> tuple[int, int]:
        maker, taker = fees(self, account)
        return maker, taker + 100_000 * bool(dear)

    monkeypatch.setattr(Exchange, "fees", dearer)

    def later(session: Session) -> bool:
        refused, now = {reason for _, reason in session.summary._refusals}, asyncio.get_running_loop().time()
        closed[:] = [True] * filled(1)(session)
        dear[:] = [True] * ("not_transferable" in refused)
        if "fee_changed" in refused and not ends:
            ends.append(now + 2)  # by then the other exchange was asked too, once more the first
        return bool(ends) and now > ends[0]

    async def story() -> None:
        async with site(tmp_path) as at:
            at.config.write_text(at.config.read_text().replace("[live]", "[live]\nwallets_ms = 1000\nfees_ms = 1000"))
            await traded(at, log, later)

    asyncio.run(story())
    with LogReader(log) as reader:
        start = max(row["seq"] for row in reader.rows("starts"))
        told = [row for row in reader.rows("wallets") if row["seq"] > start]
        assert sorted((row["venue"], row["asset"], row["deposit_open"]) for row in told) == [(one, "BTC", False) for one in VENUES]
        acts = [row for row in reader.rows("operator") if row["action"] == FEE]
        assert sorted(row["actor"] for row in acts) == [f"account main at {one}" for one in VENUES]
        after = [row for _, row in reader.outputs(kinds=("refusals",)) if row["reason"] == "fee_changed"]
        assert {row["value"] - row["bound"] for row in after} == {10**14}
    assert verify(log, advance=quiet).equal


def test_a_process_killed_with_its_log_unsealed_is_killed_by_name(tmp_path: Path) -> None:
    """SIGKILL before anything was sealed: `kill` reads the journal, so that it knows whose orders to cancel, and the log stays provable."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "xarb", "live", str(at.config), "--out", str(log), "--live", "--account", "main"),
                stdout=subprocess.DEVNULL,
            )
            async with asyncio.timeout(90):
                while not await at.ask("alpha", "orders"):
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
            process.kill()
            await process.wait()
            tables = await asyncio.to_thread(lambda: kill(log, wait_s=1, experiment=load_experiment(at.config)))
            assert {row[3] for row in tables[0].rows} == {"-"}
            with pytest.raises(Refused, match="killed by"):
                await traded(at, log, filled(1))

    asyncio.run(story())
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal


class Mute(Session):
    """A session whose accounts tell nothing at the end."""

    async def _reconcile(self, ending: Ending) -> None:
        pass


def test_a_stop_ends_while_an_exchange_does_not_answer(tmp_path: Path) -> None:
    """Nothing is told of orders that were sent: the stop waits as long as it may and seals; what is decided meanwhile is proven, not sent."""
    log = tmp_path / "log"
    hung = Fault(kind="hang", on="POST /api/v3/order", after=1, count=0)
    mute = Fault(kind="gap", on="executionReport", after=1, count=0)

    async def story() -> Ending:
        async with site(tmp_path, (hung, mute)) as at:
            text = at.config.read_text().replace("stop_ms = 8000", "stop_ms = 500\nrequest_timeout_ms = 60000")
            at.config.write_text(text.replace("execution_timeout_ms = 3000", "execution_timeout_ms = 2500"))
            session = Mute(load_experiment(at.config), log, mode=LIVE, policy=QUICK)
            task = asyncio.create_task(session.run(None, Board(None)))
            async with asyncio.timeout(60):
                while not (task.done() or (hasattr(session, "summary") and session.open_bundles())):  # noqa: ASYNC110  # no event
                    await asyncio.sleep(0.02)
                os.kill(os.getpid(), signal.SIGINT)
                return await task

    assert asyncio.run(story()).actor == "signal"
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        acts = {row["action"]: row["ts_recv"] for row in reader.rows("operator") if row["action"] != KEYS}
        assert [*acts] == ["arm", "disarm", "cancel", "ended"]
        late = [row["ts"] for kind, row in reader.outputs(kinds=("commands",)) if row["ts"] > acts["cancel"]]
        assert late, "a deadline passed while connections were closing"


def test_a_kill_without_a_process_cancels_at_the_exchanges_and_holds(tmp_path: Path) -> None:
    """The engine is dead and an order of the log is open: it is canceled and proven gone, another's is left, and no start follows."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            await account_order(at, "alpha", "somebody-else")
            with pytest.raises(Refused, match="--config"):
                await asyncio.to_thread(lambda: kill(log, wait_s=1))
            tables = await asyncio.to_thread(lambda: kill(log, wait_s=1, experiment=load_experiment(at.config)))
            [row] = [row for row in tables[0].rows if row[1] == "alpha"]
            assert row[2:5] == (mine, "-", "1")
            assert {one[7] for one in tables[0].rows} == {"-"}, "balances are what the log says"
            states = await statuses(at, "alpha")
            assert (states[mine], states["somebody-else"]) == ("CANCELED", "NEW")
            with pytest.raises(Refused, match="killed by"):
                await traded(at, log, filled(1))
            dead = at.config.with_name("dead.toml")
            gone = next(one.rest for one in at.server.addresses if one.venue == "alpha")
            dead.write_text(at.config.read_text().replace(gone, "http://127.0.0.1:1"))
            await account_order(at, "bravo", mine)
            with pytest.raises(Refused, match="main at alpha: not known"):
                await asyncio.to_thread(lambda: kill(log, wait_s=1, experiment=load_experiment(dead)))
            assert (await statuses(at, "bravo"))[mine] == "CANCELED", "an exchange that does not answer stops none of the others"

    asyncio.run(story())
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal


@pytest.mark.parametrize(
    ("mode", "is_live", "label", "error"),
    [
        ("paper", True, "main", ConfigError),
        ("live", False, "main", ConfigError),
        ("live", True, None, Refused),
        ("live", True, "other", Refused),
        ("live", True, "main", None),
        ("paper", False, None, None),
    ],
)
def test_real_orders_need_three_words(
    tmp_path: Path, mode: str, *, is_live: bool, label: str | None, error: type[Exception] | None
) -> None:
    """The file, --live, and the account's label; each of them alone is refused."""
    path = tmp_path / "live.toml"
    path.write_text(
        CONFIG.replace('"live"', f'"{mode}"')
        + VENUE.format(venue="alpha", wire="binance", rest="http://127.0.0.1:1", streams="ws://127.0.0.1:1")
    )
    with pytest.raises(error) if error else contextlib.nullcontext():
        check_wanted(load_experiment(path), is_live=is_live, label=label)


def test_a_key_that_may_not_trade_is_refused_by_name(tmp_path: Path) -> None:
    """Before anything is sent, with everything that speaks against it."""
    keys = {"read": KeyConfig(account="main", api_key=KEY, secret=SECRET, permissions=("read", "withdraw"))}

    async def story() -> None:
        async with site(tmp_path, keys=keys) as at:
            with pytest.raises(Refused, match=r"may not trade.*may withdraw"):
                await traded(at, tmp_path / "log", filled(1))

    asyncio.run(story())


def test_missing_keys_leave_no_connection_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are read before anything is opened: the venue that lacks them is named."""
    path = tmp_path / "live.toml"
    path.write_text(
        CONFIG
        + "".join(
            VENUE.format(venue=venue, wire="binance", rest="http://127.0.0.1:1", streams="ws://127.0.0.1:1") for venue in VENUES
        )
    )
    experiment = load_experiment(path)
    environment = {"XARB_ALPHA_MAIN_API_KEY": KEY, "XARB_ALPHA_MAIN_API_SECRET": SECRET}
    opened: list[str] = []
    monkeypatch.setattr(Account, "__init__", lambda *_, **__: opened.append("account"))
    with pytest.raises(ConfigError, match="at bravo"):
        accounts_of(experiment, market_sources(experiment), TRADED, environment)
    assert opened == []


def test_the_config_reaches_the_accounts(tmp_path: Path) -> None:
    """Clock bound, time-out, key file beside the config, and who may withdraw; a key file that others may read is refused."""
    path = tmp_path / "live.toml"
    keys = '[live.keys]\n"main.alpha" = "keys.toml"\n'
    more = CONFIG.replace(
        "[live]",
        '[live]\nmax_clock_offset_ms = 7\nmax_send_lag_ms = 99\nsettle_ms = 3456\nrequest_timeout_ms = 1234\nallow_withdraw = ["main"]',
    )
    path.write_text(
        more + keys + VENUE.format(venue="alpha", wire="binance", rest="http://127.0.0.1:1", streams="ws://127.0.0.1:2")
    )
    file = tmp_path / "keys.toml"
    file.write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n')
    file.chmod(0o600)
    experiment = load_experiment(path)

    async def story() -> None:
        [account] = accounts_of(experiment, market_sources(experiment), TRADED, {}, now=lambda: 5)["alpha"]
        terms = account.terms
        assert (terms.label, terms.max_clock_ms, terms.timeout_ms, terms.allow_withdraw) == ("main", 7, 1234, True)
        assert (terms.place.rest_url, terms.place.stream_url) == ("http://127.0.0.1:1", "ws://127.0.0.1:2")
        assert (terms.max_send_lag_ms, terms.settle_ms, account.now()) == (99, 3456, 5)
        assert account.symbols == ("BTC/USDT",)
        await account.close()
        file.chmod(0o644)
        with pytest.raises(ConfigError, match="chmod 600"):
            accounts_of(experiment, market_sources(experiment), TRADED, {})

    asyncio.run(story())
