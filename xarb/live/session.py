"""A session of live trading: an ordered start, the time between, an ordered stop.

Start: the exchanges' instruments, the log (recovered and claimed), what it knows, the row of the start; then markets are connected, and
once all of them speak the engine is armed. Stop: no new bundles, open ones come to their end, what is left is canceled, markets are let
go, the start ends, the log is sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from xarb.assembly import Assembly
from xarb.assembly.resolved import Resolved, resolve
from xarb.board import Board
from xarb.config import Experiment
from xarb.engine.liverows import CANCEL, DISARM, KILL
from xarb.errors import Interrupted, InvariantBroken, LogError, Retryable, VenueError
from xarb.live import requests
from xarb.live.accountrows import AccountRows
from xarb.live.alarm import Alarm
from xarb.live.arming import Arming
from xarb.live.begin import (
    ACCOUNT,
    LOSSES,
    Heard,
    Listening,
    Past,
    begin,
    check_may_start,
    instruments_after,
    kinds_of,
    paper_money,
    past_of,
)
from xarb.live.cautions import tell_of_accounts, tell_of_cycles
from xarb.live.chainboard import chain_table
from xarb.live.chaincancels import take_in
from xarb.live.chains import Books, Chains, keeper, transactions_of
from xarb.live.ending import Ending, compare_at_the_end
from xarb.live.exchanges import Exchanges, Found, accounts_of, keys_of, locked, spot_symbols
from xarb.live.guard import Guard, Pulse
from xarb.live.timers import Timers
from xarb.live.trading import Trading
from xarb.log.committer import Policy
from xarb.log.ends import ENDED
from xarb.log.livelog import LiveLog
from xarb.model.command import AnyCommand, cycles_of, orders_of
from xarb.model.instrument import Instrument
from xarb.model.order import ENTRIES, STOP
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.process import call_on_signal, notify, stop_on_signals, unless_stopped
from xarb.sources import traded_sources
from xarb.starts import LIVE, Balances
from xarb.summary import Summary, summary_of
from xarb.upkeep import Upkeep, announce_all, open_log
from xarb.venues.accountlock import AccountLocks
from xarb.venues.clock import Clock
from xarb.venues.countdown import FAILED
from xarb.venues.feeds import Connection, Feeds, Source, all_speak, listings_of, load_all
from xarb.venues.intake import Intake
from xarb.venues.relisting import Relisting
from xarb.venues.stream import StreamPolicy
from xarb.venues.venue import VenueRow
from xarb.wires.decimals import Listing
from xarb.wires.rows import Row, RowBuilder

_LOOK_S: Final = 0.1  # interval at which requests of other shells are looked for
EVENT_LOOP: Final = "event loop"
WALL_CLOCK: Final = "wall clock"
UNGUARDED: Final = "watchdog_gone"
_Made = TypeVar("_Made")
_SPARE: Final = 64  # connection numbers kept for what a session opens later


class Session:
    """One session; `run` it once.

    Args:
        experiment: what is traded, and on which markets.
        folder: the log.
        mode: PAPER or LIVE.
        policy: how the log is written.
        guard: watches over the process from outside, where somebody does.

    Attributes:
        log, intake, feeds, assembly, trading, summary: its parts, there once it runs.
        was_killed: a kill came at which the process goes on without new bundles.
    """

    def __init__(self, experiment: Experiment, folder: Path, *, mode: str, policy: Policy, guard: Guard | None = None) -> None:
        self._guard = guard
        self._experiment, self._folder, self._mode, self._policy = experiment, folder, mode, policy
        self._sources = traded_sources(experiment)
        self._markets = [source for source in self._sources if isinstance(source, Source)]
        for source in self._markets:
            source.wire()
        self._timers = Timers(self._put)
        self._alarm = Alarm(self._ring)
        self._has_armed = asyncio.Event()
        self._is_over = False
        self._has_ended = False
        self._stops = self._distrusts = self._shares = self._lost = self._is_unguarded = False
        self._arming = Arming(lambda *act: self._put("operator", act))
        self._prelude: dict[str, list[Row]] | None = {}
        self._ending: asyncio.Future[Ending]
        self._failed: BaseException | None = None
        self._locks = AccountLocks(folder)
        self._sent: Sequence[Mapping[str, Any]] = ()  # transactions of earlier starts, until the chains have them
        self.exchanges: Exchanges | None = None
        self.chains: Chains | None = None
        self.was_killed = False  # to a level at which the process goes on

    log: LiveLog
    intake: Intake
    feeds: Feeds
    assembly: Assembly
    trading: Trading
    summary: Summary

    # --- from start to stop

    async def run(self, duration_s: float | None, board: Board) -> Ending:
        """Trade until someone asks for a stop, or the duration is over; the log is sealed when this returns."""
        began_ns = time.time_ns()
        with stop_on_signals() as stop, call_on_signal(signal.SIGQUIT, self._kill_by_signal):
            self._ending = asyncio.get_running_loop().create_future()
            instruments = await unless_stopped(stop, load_all(self._sources))
            if instruments is None:
                raise Interrupted("stopped before anything began")
            take_in(self._folder)
            log, state, known, sealed = open_log(self._folder, f"live of {self._experiment.origin}", self._policy)
            async with AsyncExitStack() as stack:
                stack.enter_context(log)
                self.log = log
                requests.forget(self._folder, began_ns)
                past = past_of(self._folder, sealed)
                if self._mode == LIVE and self._experiment.sending:
                    self._sent = transactions_of(self._folder, sealed)
                del sealed  # of a long log it is large
                check_may_start(past, self._mode)
                http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
                clock = Clock(log.last_ts)
                builder = RowBuilder(log.last + 1, log.last_ts, state.scales)
                frames = self._experiment.record.frames
                self.intake = Intake(builder, clock, self._deliver, keeps_frames=frames)
                listings = listings_of(instruments, state.scales)
                stack.push_async_callback(self._let_go)
                conn = await self._kept_back(self._start(past, known, listings, first_conn=state.next_conn))
                policy = StreamPolicy(age_s=float(self._experiment.record.max_age_ms) / 1000)
                every_s = self._experiment.record.instruments_ms / 1000
                self._relisting = Relisting(self._markets, listings, self.intake, every_s=every_s)
                self.feeds = Feeds(self._sources, listings, intake=self.intake, http=http, first_conn=conn, policy=policy)
                return await self._kept_back(self._trade(stop, duration_s, board))

    async def _kept_back(self, work: Coroutine[Any, Any, _Made]) -> _Made:
        """The result of `work`; where the log could not be written in it no start follows before a person resets that."""
        try:
            return await work
        except LogError as error:
            raise requests.hold_back(self._folder, error) from error

    async def _start(self, past: Past, known: Sequence[Instrument], listings: dict[str, list[Listing]], *, first_conn: int) -> int:
        """Say what is known, then begin: from the row of the start on every row is decided on. The next connection's number."""
        announce_all(self.intake, listings, known)
        self.intake.flush()
        instruments = instruments_after(past.instruments, self._prelude or {})
        found = None
        held: Balances = {}
        if self._mode == LIVE:
            first_conn = self._open_wallets(past, first_conn)
            rows = AccountRows(self.intake, chain.from_iterable(listings.values()), start=past.next_start, fail=self._fail)
            found = await self._open_exchanges(past, instruments, first_conn, rows)
            first_conn = self.exchanges.next_conn  # type: ignore[union-attr]  # just opened
            held = {} if self.chains is None else await self.chains.open()
        resolved = self._resolve(instruments, found)
        balances = paper_money(resolved, past) if found is None else {**found.balances, **held}
        listening = Listening(instruments, kinds_of(instruments, self._sources), first_conn + len(self._sources) * _SPARE)
        self.intake.flush()
        prelude = self._prelude or {}
        heard = Heard(prelude, balances, {} if found is None else found.others)
        start, self.assembly = begin(resolved, past, listening, heard, mode=self._mode)
        self._prelude = None
        if prelude:
            self.log.append(prelude)
            self.log.write()
        self.summary = summary_of(self.assembly)
        self.trading = Trading(
            self.log, self.assembly, send=self._send, strict=self._experiment.live.strict, sink=self.summary.take
        )
        self._put("starts", start.row())
        tell_of_cycles(resolved, instruments, self.intake)
        self.intake.flush()
        if self.exchanges is not None:
            self.log.sync()  # a start is durable before it arms
            tell_of_accounts([] if found is None else found.readiness, self.intake)
            ours, live = self.assembly.engine.portfolio.balances_at, self._experiment.live
            self.exchanges.listen(ours, wallets_s=live.wallets_ms / 1000, fees_s=live.fees_ms / 1000)
        if self.chains is not None:
            self.chains.listen(self._fail, Books(self.assembly.engine.portfolio.balances_at, self.intake.clock.now))
        return first_conn

    def _open_wallets(self, past: Past, first_conn: int) -> int:
        """Open what signs for the chains, before anything is connected. The next connection's number."""
        if not self._experiment.sending:
            return first_conn
        whose = (past.log_id, past.next_start)
        sent, self._sent = self._sent, ()
        self.chains = Chains(self._experiment, sent, whose=whose, first_conn=first_conn, keep=self._keep_of_chains())
        return self.chains.next_conn

    def _keep_of_chains(self) -> Callable[[Sequence[VenueRow]], None]:
        """What logs the chains' rows before what they are about leaves, and hears what speaks against sending."""
        put = keeper(self.intake, self.log, strict=self._experiment.live.strict)

        def keep(rows: Sequence[VenueRow]) -> None:
            put(rows)
            if any(row.kind == "health" for row in rows):
                self._heed_others()

        return keep

    def _objections(self) -> list[str]:
        """What speaks against new bundles now."""
        return [why for one in (self.exchanges, self.chains) if one is not None for why in one.objections()]

    async def _open_exchanges(self, past: Past, instruments: Sequence[Instrument], first_conn: int, rows: AccountRows) -> Found:
        """Connect the accounts; what the exchanges say of earlier starts' orders becomes rows before the start."""
        keys = keys_of(self._experiment, self._markets)
        wallets, at_chains = ({}, []) if self.chains is None else (self.chains.wallets(), self.chains.locked())
        self._locks.take([*locked(keys, self._markets), *at_chains])
        if self._guard is not None:
            self._guard.entrust({**keys, **wallets})
        self.exchanges = Exchanges(
            accounts_of(self._experiment, self._markets, spot_symbols(instruments), keys=keys, now=self.intake.clock.now),
            instruments,
            past=past,
            first_conn=first_conn,
            take=lambda row: self._hear(row, rows),
            fail=self._fail,
        )
        return await self.exchanges.open()

    def _resolve(self, instruments: Sequence[Instrument], found: Found | None) -> Resolved:
        resolved = resolve(self._experiment, instruments)
        return resolved if found is None else msgspec.structs.replace(resolved, fees=resolved.fees | found.fees)

    def _hear(self, row: VenueRow, rows: AccountRows) -> None:
        """An account said something."""
        rows.take(row)
        if row.kind == "health" and self.exchanges is not None:
            self._heed_others()

    def _heed_others(self) -> None:
        """Disarm or arm by what speaks against orders now; where somebody else uses an account of ours, a kill to `entries`."""
        self._arming.judge(self._objections())
        others = [why for one in (self.exchanges, self.chains) if one is not None for why in one.rivals()]
        if self._prelude is None and others and not self._shares:
            self._shares = True
            self._end_entries(ACCOUNT, "; ".join(others))

    def _fail(self, error: BaseException) -> None:
        """Something beside the loop broke: the session ends in order, and with this error."""
        self._failed = self._failed or error
        self._end(Ending(actor=f"failure: {type(error).__name__}"))

    async def _trade(self, stop: asyncio.Event, duration_s: float | None, board: Board) -> Ending:
        gc.collect()
        gc.freeze()  # what was built so far stays: later collections need not look at it
        began = self.intake.clock.now()
        arming, beating = asyncio.ensure_future(self._arm()), asyncio.ensure_future(self._beat())
        tasks = [
            arming,
            *(
                asyncio.ensure_future(work)
                for work in (
                    self.feeds.run(),
                    self._relisting.run(),
                    Upkeep(self.intake, self.log, self._experiment.record).run(lambda: self._show(board, began), self._steps),
                    self._obey(stop, duration_s),
                )
            ),
        ]
        for task in (beating, *tasks):
            task.add_done_callback(self._task_ended)
        try:
            futures: set[asyncio.Future[Any]] = {self.intake.failure, self._ending}
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            notify("STOPPING=1")
            arming.cancel()  # what is being stopped must not be armed any more
            if not self._ending.done():
                await self._cancel_unlogged()
                return Ending(actor="failure")
            ending = self._ending.result()
            await self._wind_down(ending)
            await self._end_chains(ending)
            if self.intake.failure.done():
                await self._cancel_unlogged()
            else:
                quiet = partial(self._quiet, lambda: ending.killed)
                await compare_at_the_end(partial(self._reconcile, ending), quiet, self.open_bundles)
                await self._stand_down()
            return ending
        finally:
            await _canceled(tasks)  # connections may take seconds to say goodbye, and the loop turns meanwhile
            if self._guard is not None:
                self._guard.farewell()
            await _canceled([beating])
            try:
                await self._let_go()
            finally:
                self._finish()
                gc.unfreeze()
            self._raise()

    def _task_ended(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _cancel_unlogged(self) -> None:
        """Cancel at the exchanges what may still fill, although nothing can be logged any more; the next start tells what came of it."""
        if self.exchanges is not None:
            with contextlib.suppress(TimeoutError):  # the next start cancels what is left
                async with asyncio.timeout(self._stop_s):
                    await self.exchanges.cancel_open()

    async def _reconcile(self, ending: Ending) -> None:
        """Compare with the exchanges once more; in vain, that is a failure, but a kill stays a kill.

        Raises:
            Retryable, Rejected: an exchange did not tell how things stand, or not in time.
        """
        if self.exchanges is None:
            return
        try:
            async with asyncio.timeout(self._stop_s + float(self._experiment.live.request_timeout_ms) / 1000):
                await self.exchanges.reconcile()
        except (VenueError, TimeoutError) as error:
            why = str(error) or "the exchanges did not answer in time"
            self.intake.health("reconcile_failed", 1, None, why)
            if not ending.killed:
                raise Retryable(f"stopped, but how the accounts stand is not known: {why}") from None

    async def _end_chains(self, ending: Ending) -> None:
        """Cancel what waits on chains, and see what became of it; in vain, that is a failure, but a kill stays a kill.

        Raises:
            Retryable: a node did not tell, or something may still be included; the next start finds out.
        """
        if self.chains is None or self.intake.failure.done():
            return
        try:
            async with asyncio.timeout(2 * self._stop_s):
                left = await self.chains.end(self._stop_s)
            why = f"these may still be included: {', '.join(left)}" if left else ""
        except (VenueError, TimeoutError) as error:
            why = str(error) or "a node did not answer in time"
        if why:
            self.intake.health("chains_not_ended", 1, None, why)
            if not ending.killed:
                raise Retryable(f"stopped, but how transactions stand is not known: {why}")

    async def _stand_down(self) -> None:
        """Everything is compared and nothing is open: the exchanges need not wait for us any more."""
        if self.exchanges is not None:
            try:
                async with asyncio.timeout(self._stop_s):
                    await self.exchanges.stand_down()
            except TimeoutError:
                self.intake.health(FAILED, 1, None, "not switched off in time; what rests there will be canceled")

    @property
    def _stop_s(self) -> float:
        return float(self._experiment.live.stop_ms) / 1000

    async def _let_go(self) -> None:
        """End the connections to accounts, if there are any."""
        try:
            if self.exchanges is not None:
                await self.exchanges.let_go()
            if self.chains is not None:
                await self.chains.let_go()
        finally:
            self._locks.release()

    def _finish(self) -> None:
        """End the start, if the log still takes it; nothing comes after it."""
        self._is_over = True
        self._alarm.cancel()
        if not self.intake.failure.done():
            self._put("operator", (ENDED, "session", None))
            self.intake.flush()
            self._has_ended = True
            self.intake.flush()  # what became of commands that were decided by then

    def _raise(self) -> None:
        """The failure that ended the session, if one did."""
        if self._failed is not None:
            raise self._failed
        if self.intake.failure.done() and (error := self.intake.failure.exception()) is not None:
            raise error

    async def _arm(self) -> None:
        """Arm once every market speaks, and nothing speaks against it."""
        while not self._is_ready():  # noqa: ASYNC110  # the streams have no event for it
            await asyncio.sleep(_LOOK_S)
        if self.exchanges is not None:
            await self.exchanges.compare()
            self.intake.flush()  # what they said is judged before anything is armed
        if self._guard is not None:
            self._guard.beat()  # before the first order can leave, since silence counts from the first beat on
        self._arming.begin()
        if self.exchanges is not None:
            self.exchanges.look_out()
        notify("READY=1")
        self._has_armed.set()

    async def _beat(self) -> None:
        """Once orders can leave tell the guard that the loop turns, and measure by how much it lags."""
        await self._has_armed.wait()
        beat = _nothing if self._guard is None else self._guard.beat
        pulse = Pulse(beat, self._lags, bound_ms=self._experiment.live.max_loop_lag_ms, clock=time.monotonic_ns)
        while True:
            await asyncio.sleep(Pulse.PERIOD_S)
            pulse.look()
            if self._guard is not None and self._guard.is_gone and not self._is_unguarded:
                self._is_unguarded = True
                self.intake.health(UNGUARDED, 1, None, "the process that watches over this one is gone")

    def _lags(self, lag_ns: int) -> None:
        bound_ms = self._experiment.live.max_loop_lag_ms
        self._end_entries(EVENT_LOOP, f"the event loop lagged {lag_ns // NANOS_PER_MS} ms behind, allowed are {bound_ms}")

    def _steps(self, step_ns: int) -> None:
        """The wall clock was set by so much."""
        bound_ms = self._experiment.live.max_clock_jump_ms
        if 0 < bound_ms * NANOS_PER_MS < abs(step_ns):
            self._end_entries(WALL_CLOCK, f"the wall clock was set by {step_ns // NANOS_PER_MS} ms, allowed are {bound_ms}")

    def _is_ready(self) -> bool:
        return all_speak(self.feeds.streams) and not self._objections()

    async def _obey(self, stop: asyncio.Event, duration_s: float | None) -> None:
        """Wait for the wish to end: a signal, a request, the end of the duration."""
        loop = asyncio.get_running_loop()
        until = None if duration_s is None else loop.time() + duration_s
        while True:
            if stop.is_set():
                self._end(Ending(actor="signal"))
            elif until is not None and loop.time() >= until:
                self._end(Ending(actor="duration"))
            for request in requests.take(self._folder):
                if request.action == "kill" and request.level != STOP:
                    self.was_killed = True
                    self._arming.end()
                    self._put("operator", (KILL, request.actor, request.level))
                else:
                    self._end(Ending(actor=request.actor, killed=request.action == "kill"))
            await asyncio.sleep(_LOOK_S)

    def _kill_by_signal(self) -> None:
        self._end(Ending(actor="signal SIGQUIT", killed=True))

    def _end(self, ending: Ending) -> None:
        """End for that reason; of several the first counts, but that a kill goes before a stop also while that is under way."""
        if not self._ending.done():
            self._ending.set_result(ending)
            return
        first = self._ending.result()
        if ending.killed and not first.killed:
            first.actor, first.killed = ending.actor, True
            if self._stops:
                self._put("operator", (KILL, ending.actor, STOP))

    async def _wind_down(self, ending: Ending) -> None:
        """No new bundles; open ones come to their end, or are canceled when their time is up."""
        self._stops = True
        self._arming.end()
        self._put("operator", (KILL, ending.actor, STOP) if ending.killed else (DISARM, ending.actor, None))
        self.intake.flush()
        await self._quiet(lambda: ending.killed)
        if self.open_bundles() and not ending.killed:
            self._put("operator", (CANCEL, "session", "the time of a stop is up"))
            self.intake.flush()
        await self._quiet(lambda: False)

    async def _quiet(self, is_enough: Callable[[], bool]) -> None:
        """Wait until all bundles have ended, for as long as a stop may take at most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._stop_s
        while self.open_bundles() and loop.time() < until and not self.intake.failure.done() and not is_enough():  # noqa: ASYNC110  # rows decide it
            await asyncio.sleep(_LOOK_S / 10)

    def open_bundles(self) -> int:
        """Bundles that are on their way to an end now."""
        return self.assembly.engine.execution.under_way

    # --- rows

    def _put(self, kind: str, values: tuple[Any, ...]) -> None:
        self.intake.put(kind, values)

    def _deliver(self, rows: dict[str, list[Row]]) -> None:
        """Rows of a pass of the event loop."""
        if self._prelude is not None:
            for kind, mine in rows.items():
                self._prelude.setdefault(kind, []).extend(mine)
            return
        if self._has_ended:
            self.log.append(rows)
            self.log.write()
            return
        self.trading.take(rows)
        self._heed()
        if self.log.is_full and self.intake.takes_market:
            self.intake.takes_market = False  # the reserve is for what becomes of our orders
            self._fail(
                LogError(f"{self._folder}: the disk is full; trading was ended in order; the next start seals what was written")
            )
        if not self._is_over:
            self._plan()

    def _heed(self) -> None:
        """The engine has stopped new bundles, since others move too much of our money, or for a loss: from here on as a kill does."""
        if (found := self.assembly.engine.distrust) is not None and not self._distrusts:
            self._distrusts = True
            self._end_entries(found.actor, f"{found}")
        if (loss := self.assembly.engine.execution.loss) is not None and not self._lost:
            self._lost = True
            self._end_entries(LOSSES, loss)

    def _end_entries(self, actor: str, why: str) -> None:
        """A kill to `entries` that no person asked for."""
        self.was_killed = True
        self._arming.end()
        self._put("operator", (KILL, actor, f"{ENTRIES}: {why}"))

    def _send(self, commands: Sequence[AnyCommand]) -> None:
        assert self.exchanges is not None, "simulated venues take their commands themselves"
        if cycles := cycles_of(commands):
            if self.chains is None:
                raise InvariantBroken("a cycle on a chain was sent, and no chain is connected")
            self.chains.send(cycles)
        self.exchanges.follow(self.assembly.engine.instruments)  # the commands are at the scales that these have
        self.exchanges.send(orders_of(commands))

    # --- time

    def _plan(self) -> None:
        """Put what is due, and see to it that time is looked at again when it matters."""
        engine, clock = self.assembly.engine, self.intake.clock
        now = clock.now()
        venues = self.assembly.venues
        due = engine.next_due if venues is None else min(engine.next_due, venues.horizon())
        again = self._timers.look(now, self.log.last_ts, engine.timers(), due)
        self._alarm.set(again, now)

    def _ring(self) -> None:
        if not self.intake.failure.done() and not self._is_over:
            self._plan()

    def _show(self, board: Board, began: int) -> None:
        notify("WATCHDOG=1")  # the loop turns, and the log was looked after
        now = self.intake.clock.now()
        more = [chain_table(self.assembly, {} if self.chains is None else self.chains.venues, now)]
        board.update(self.feeds.streams, now, self.log.stats, (now - began) / NANOS_PER_S, scores=self.score, more=more)

    def score(self, stream: Connection) -> int | None:
        """The lowest score that the engine gives an instrument of a connection."""
        engine, keys = self.assembly.engine, {one.key for one in stream.feed.listings}
        mine = [number for number, one in enumerate(engine.instruments) if (one.venue, one.symbol) in keys]
        return min((engine.market.feed(number).score for number in mine), default=None)


async def _canceled(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel tasks and wait until they ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _nothing() -> None:
    """Nobody waits for a beat."""
