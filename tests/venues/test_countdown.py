"""The countdown at an exchange in virtual time: set anew in time, late, run out, switched off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any, Self, cast

import pytest

from tests.venues.simulated_account import Placed, SimulatedAccount, VirtualLoop
from tests.venues.trader import BTC, LOG_ID
from xarb.errors import ConfigError, Rejected, Retryable
from xarb.model.command import SubmitOrder
from xarb.venues.account import Account, AccountTerms
from xarb.venues.accountdesk import AccountDesk, Wishes
from xarb.venues.cex import CexVenue
from xarb.venues.countdown import FAILED, RUNS
from xarb.venues.orderrules import RULES, countdown_of
from xarb.venues.passage import Passage
from xarb.venues.replies import OrderSaid, TradeSaid
from xarb.venues.venue import VenueRow

LENGTH = 60.0
Answer = Callable[[], str]


class CountingAccount(SimulatedAccount):
    """An account at an exchange with a countdown; `answer` says how a request for it goes: ok, slow, drop, lose, refuse or hang."""

    def __init__(self, answer: Answer = lambda: "ok", *, exchange: str = "okx", **terms: Any) -> None:
        super().__init__(1)
        self.terms = AccountTerms(**{"label": "main", "exchange": exchange, "cancel_after_ms": int(LENGTH * 1000), **terms})
        self.rules = RULES[exchange]._replace(stream="", acknowledges=True)
        self.answer = answer
        self.due: float | None = None
        self.fired: list[float] = []
        self.asked: list[tuple[float, int]] = []
        self.acts: list[
            tuple[str, bool]
        ] = []  # what was asked of the account, in order, and whether something spoke against it then
        self.doubts: Callable[[], object] = lambda: False
        self.fires: Callable[[], None] = lambda: None
        self.slept_ns = 0

    def _chance(self, odds: float) -> bool:
        del odds
        return False

    def _note(self, act: str) -> None:
        self.acts.append((act, bool(self.doubts())))

    def wall(self) -> int:
        """Goes on while a machine sleeps."""
        return super().wall() + self.slept_ns

    def _take(self, client_id: str, command: SubmitOrder) -> Placed:
        """An order rests until it is canceled."""
        order = self.orders[client_id] = Placed(len(self.orders) + 1, client_id, command, 0.0)
        return order

    async def submit(
        self, instrument: Any, command: SubmitOrder, client_id: str, passage: Passage
    ) -> tuple[OrderSaid, list[TradeSaid]]:
        """Noted."""
        self._note("submit")
        return await super().submit(instrument, command, client_id, passage)

    async def open_orders(self, symbol: str) -> list[OrderSaid]:
        """Noted: a comparison begins with it."""
        self._note("compare")
        return await super().open_orders(symbol)

    async def cancel_after(self, timeout_ms: int) -> None:
        """Set the countdown, as the exchange takes it."""
        loop = asyncio.get_running_loop()
        self.asked.append((loop.time(), timeout_ms))
        self._note(f"set {timeout_ms}")
        answer = self.answer()
        await asyncio.sleep(0.05)
        if answer == "hang":
            await asyncio.sleep(1000)
        if answer == "refuse":
            raise Rejected("no", reason="permission_denied")
        if answer == "drop":
            raise Retryable("cut", reason="exchange_not_available")
        self.due = loop.time() + timeout_ms / 1000 if timeout_ms else None
        if timeout_ms:
            loop.call_at(self.due or 0.0, self._fire, self.due)
        await asyncio.sleep(5 if answer == "slow" else 0.05)
        if answer == "lose":
            raise Retryable("the reply is lost", reason="timeout")

    def _fire(self, due: float | None) -> None:
        if due is None or self.due != due:
            return
        self.due = None
        self.fired.append(due)
        self.fires()
        for order in self.orders.values():
            order.state = "canceled" if order.state == "open" else order.state


class Desk:
    """A venue whose countdown runs, and what it told."""

    def __init__(self, account: CountingAccount) -> None:
        wishes = Wishes(log_id=LOG_ID, start=1)
        one = BTC.__class__(**{name: getattr(BTC, name) for name in BTC.__struct_fields__} | {"venue": "okx"})
        self.account = account
        self.venue = CexVenue("okx", [cast("Account", account)], [one], wishes=wishes, conns={})
        self.desk: AccountDesk = self.venue.desks["main"]
        self._rows: list[VenueRow] = []

    async def __aenter__(self) -> Self:
        await self.venue.open()
        countdown = self.desk.countdown
        if countdown is not None:
            await countdown.begin()
        self.desk.keep_countdown()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.venue.close()
        assert self.venue.failure is None

    @property
    def rows(self) -> list[VenueRow]:
        """All that was told."""
        self._rows += self.venue.take_rows()
        return self._rows

    def readings(self, metric: str) -> list[int]:
        """Values of a reading so far."""
        return [row.values["value"] for row in self.rows if row.values.get("metric") == metric]

    async def send(self, number: int = 1, *, tif: str = "gtc", post_only: bool = False) -> None:
        """Send an order and wait until its request has ended."""
        about: dict[str, Any] = {"ts": 0, "order": number, "client_order_id": f"{LOG_ID[:8]}-1-{number}", "account": "main"}
        about |= {"strategy": "s", "instrument": 0, "side": "buy", "tif": tif, "price_int": 100, "qty_int": 5}
        self.venue.send([SubmitOrder(**about, post_only=post_only)])
        await asyncio.sleep(1)

    def events(self, number: int = 1) -> list[tuple[str, str | None]]:
        """What was reported of an order, with the reasons; repeated look-ups that found it as it was are none."""
        mine = [row.values for row in self.rows if row.kind == "reports" and row.values["order"] == number]
        return [(values["event"], values.get("reason")) for values in mine]


def live(story: Coroutine[Any, Any, None]) -> None:
    """Run in virtual time."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(story)
    finally:
        loop.close()


def test_it_is_set_anew_four_times_as_often_as_it_lasts() -> None:
    """It never runs out; that it runs is told at once and then once a minute; what rests goes on resting."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            await at.send()
            await asyncio.sleep(600)
            assert account.fired == []
            assert len(account.asked) in range(39, 42)
            assert {ms for _, ms in account.asked} == {60_000}
            assert at.readings(RUNS) == [60_000] * len(at.readings(RUNS))
            assert len(at.readings(RUNS)) in range(9, 12)
            assert at.readings(FAILED) == []
            assert account.orders
            assert {order.state for order in account.orders.values()} == {"open"}

    live(story())


@pytest.mark.parametrize("fault", ["drop", "lose", "refuse"])
def test_requests_that_fail_for_a_while_change_nothing(fault: str) -> None:
    """Each is tried again within two seconds; that it is late is told once, and once that it works again."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + 50
        account = CountingAccount(lambda: fault if 10 < loop.time() - ends + 50 < 50 else "ok")
        async with Desk(account) as at:
            await asyncio.sleep(100)
            assert account.fired == []
            assert at.readings(FAILED) == [1, 0]
            assert at.readings(RUNS) == [60_000] * len(at.readings(RUNS))
            assert at.desk.objections == []
            tries = [one for one, _ in account.asked if one > ends - 36]
            assert max(b - a for a, b in pairwise(tries)) < 16
            assert min(b - a for a, b in pairwise(tries)) >= 1, "the exchange takes one a second"

    live(story())


@pytest.mark.parametrize("fault", ["drop", "refuse", "hang"])
def test_before_it_may_run_out_what_rests_is_doubted_and_after_it_everything_is_compared_first(fault: str) -> None:
    """The order is unknown a second before the exchange cancels it, then found canceled; new orders only after comparison and countdown."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        account = CountingAccount(lambda: fault if 1 < loop.time() - began < 120 else "ok")
        async with Desk(account) as at:
            await at.send()
            stated: list[list[str]] = []
            account.doubts = lambda: at.desk.objections
            account.fires = lambda: stated.append(at.desk.objections)
            await asyncio.sleep(55)
            assert (at.desk.objections, at.readings(FAILED)) == ([], [1])
            await asyncio.sleep(45)
            assert stated == [["the countdown of main may have run out and canceled its orders"]]
            told = [event for event in at.events() if event[0] in {"unknown", "canceled"}]
            assert told == [("unknown", "countdown"), ("canceled", None)]
            assert at.readings(RUNS)[-1] == 0
            assert at.desk.objections
            assert at.desk.may_rest is False
            await at.send(2)
            assert at.events(2) == [("not_sent", "may_rest")]
            await asyncio.sleep(60)
            assert at.desk.objections == []
            assert at.readings(RUNS)[-2:] == [0, 60_000]
            assert at.readings(FAILED) == [1, 0]
            meanwhile = [act for act, doubts in account.acts if doubts]
            sets = [number for number, act in enumerate(meanwhile) if act == "set 60000"]
            assert sets
            assert all(meanwhile[number - 1] == "compare" for number in sets)
            await at.send(3)
            assert at.events(3)[0] == ("sent", None)

    live(story())


def test_a_comparison_that_fails_keeps_it_from_being_set() -> None:
    """After it ran out nothing new begins before the exchange has told how things stand."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        account = CountingAccount(lambda: "drop" if 1 < loop.time() - began < 70 else "ok")
        silent = True
        compare = account.open_orders

        async def told(symbol: str) -> list[OrderSaid]:
            found = await compare(symbol)
            if silent and loop.time() - began > 2:
                raise Retryable("busy", reason="timeout")
            return found

        account.open_orders = told  # type: ignore[method-assign]  # the exchange does not tell
        async with Desk(account) as at:
            await asyncio.sleep(75)
            asked = len(account.asked)
            await asyncio.sleep(100)
            assert len(account.asked) == asked
            assert at.desk.objections
            silent = False
            await asyncio.sleep(20)
            assert at.desk.objections == []

    live(story())


def test_a_machine_that_slept_finds_out() -> None:
    """Monotonic time stood still meanwhile; the wall clock says that the countdown has run out."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            await asyncio.sleep(20)
            account.slept_ns = 90 * 10**9
            await asyncio.sleep(20)
            assert at.readings(RUNS) == [60_000, 0, 60_000]
            assert at.desk.objections == []

    live(story())


@pytest.mark.parametrize(("seconds", "readings"), [(30, [60_000]), (70, [0, 60_000])])
def test_a_start_that_took_long_looks_at_once(seconds: int, readings: list[int]) -> None:
    """Between the first request and the row of the start nobody keeps it: it is set anew at once, or has run out."""

    async def story() -> None:
        account = CountingAccount()
        at = Desk(account)
        await at.venue.open()
        assert at.desk.countdown is not None
        await at.desk.countdown.begin()
        await asyncio.sleep(seconds)
        at.desk.keep_countdown()
        await asyncio.sleep(2)
        assert len(account.asked) == 2
        assert at.readings(RUNS) == readings
        assert at.desk.objections == []
        await at.venue.close()

    live(story())


def test_switched_off_at_the_end_where_nothing_is_open() -> None:
    """The last request is for 0, and not within a second of the one before; what others have there rests on."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            await at.send(1, tif="ioc")
            account.orders[next(iter(account.orders))].state = "canceled"
            while len(account.asked) < 3:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            before = account.asked[-1][0]
            await at.desk.stand_down()
            assert (account.asked[-1][1], at.readings(RUNS)[-1]) == (0, 0)
            assert account.asked[-1][0] - before >= 1
            await asyncio.sleep(300)
            assert account.fired == []

    live(story())


def test_left_running_where_an_order_may_be_open() -> None:
    """The exchange cancels it when its time is up, as nobody is there any more."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            await at.send()
            await at.desk.stand_down()
            assert "left running, 1 orders may be open" in str(at.rows[-1].values["detail"])
        await asyncio.sleep(100)
        assert len(account.fired) == 1
        assert {order.state for order in account.orders.values()} == {"canceled"}
        assert {ms for _, ms in account.asked} == {60_000}

    live(story())


def test_that_it_could_not_be_switched_off_is_told() -> None:
    """Some tries, then a reading; nothing fails because of it."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            account.answer = lambda: "hang"
            await at.desk.stand_down()
            assert [ms for _, ms in account.asked[1:]] == [0, 0, 0]
            assert at.readings(FAILED) == [1]

    live(story())


@pytest.mark.parametrize("exchange", ["binance", "okx"])
@pytest.mark.parametrize(("tif", "post_only"), [("gtc", False), ("gtc", True), ("ioc", True)])
def test_no_order_rests_where_nothing_cancels_it(exchange: str, tif: str, *, post_only: bool) -> None:
    """Binance has no countdown, and OKX's may be switched off: the order is refused by name, unless it is allowed; others leave."""

    async def story() -> None:
        for may_rest in (False, True):
            length: dict[str, Any] = {} if exchange == "binance" else {"cancel_after_ms": 0}
            account = CountingAccount(exchange=exchange, may_rest=may_rest, **length)
            async with Desk(account) as at:
                await at.send(1, tif=tif, post_only=post_only)
                assert at.events()[0] == (("sent", None) if may_rest else ("not_sent", "may_rest"))
                await at.send(2, tif="ioc")
                await at.send(3, tif="fok")
                assert at.events(2)[0] == at.events(3)[0] == ("sent", None)
                assert account.asked == []

    live(story())


@pytest.mark.parametrize("seed", range(60))
def test_whenever_it_runs_out_new_orders_had_stopped(seed: int) -> None:
    """Whatever becomes of the requests, and however long that lasts: at the moment at which the exchange cancels, an objection stands."""
    draw = random.Random(seed)  # noqa: S311  # a story that is to be told again
    believed: list[bool] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        turns, answer = 0.0, "ok"

        def drawn() -> str:
            nonlocal turns, answer
            if loop.time() > turns:
                turns, answer = loop.time() + draw.random() * 150, draw.choice(["ok", "slow", "drop", "lose", "refuse", "hang"])
            return answer if draw.random() < 0.9 else "ok"

        account = CountingAccount()
        async with Desk(account) as at:
            account.answer = drawn
            account.fires = lambda: believed.append(not at.desk.objections)
            await asyncio.sleep(3000)
            account.answer = lambda: "ok"
            await asyncio.sleep(60)
            assert at.desk.objections == []
            assert not account.fired or 0 in at.readings(RUNS)

    live(story())
    assert believed.count(True) == 0


def test_lengths_that_an_exchange_does_not_take_are_refused() -> None:
    """By the name of the key, with what is allowed; an exchange without a countdown takes any."""
    for wrong in (1, 9_000, 121_000, 60_500):
        with pytest.raises(ConfigError, match=rf"cancel_after_ms = {wrong}: okx takes 0, or whole seconds from 10000 to 120000"):
            countdown_of("okx", wrong)
    assert countdown_of("okx", 0) is None
    assert countdown_of("binance", 1) is None
    assert countdown_of("okx", 10_000) is RULES["okx"].countdown
