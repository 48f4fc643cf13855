"""A trading process of a world: the real log, engine, execution, risk and order desks, begun and ended as `live.session` does it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from xarb.assembly import Assembly
from xarb.assembly.resolved import Resolved
from xarb.engine.discrepancy import Discrepancy
from xarb.engine.liverows import ARM, CANCEL, DISARM, KILL, RESET
from xarb.engine.others import Strangers
from xarb.errors import LogError, Refused
from xarb.imports.run import LogState, state_of
from xarb.live.alarm import Alarm
from xarb.live.arming import Arming
from xarb.live.begin import ACCOUNT as SHARED
from xarb.live.begin import LOSSES, Heard, Listening, Past, begin, check_may_start, instruments_after, past_of
from xarb.live.ending import compare_at_the_end
from xarb.live.exchanges import Exchanges
from xarb.live.timers import Timers
from xarb.live.trading import Trading
from xarb.log import manifest
from xarb.log.batching import slow_row
from xarb.log.committer import Policy
from xarb.log.ends import ENDED, left_off
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header
from xarb.log.reader import LogReader
from xarb.model.command import AnyCommand, orders_of
from xarb.model.event import OutputRow
from xarb.model.instrument import Instrument, instrument_fields
from xarb.model.order import ENTRIES, KILL_LEVELS, STOP
from xarb.model.units import NANOS_PER_S
from xarb.simulation.access import ACCOUNT, Access, Reading
from xarb.simulation.disk import WorldDisk
from xarb.simulation.exchange import Exchange
from xarb.simulation.faults import Sealing
from xarb.simulation.world import Loop, World
from xarb.starts import LIVE, Start
from xarb.upkeep import announce_all
from xarb.venues.account import Account
from xarb.venues.accountlock import AccountLocks, Locked, account_digest
from xarb.venues.clock import Clock
from xarb.venues.countdown import FAILED, Countdown
from xarb.venues.feeds import Source
from xarb.venues.intake import Intake
from xarb.venues.relisting import Relisting
from xarb.venues.venue import VenueRow
from xarb.wires.decimals import Listing
from xarb.wires.events import QuoteEvent
from xarb.wires.rows import Link, Row, RowBuilder

POLICY: Final = Policy(by_hand=True, seal_s=1e9, seal_rows=10**9, reserve_bytes=4096, separate=False)
_STOP_S: Final = 30.0
_LOOK_S: Final = 0.05
Watch = Callable[[Sequence[OutputRow]], None]
Moment = Callable[["Trader"], None]


class Site(msgspec.Struct, frozen=True):
    """What a process finds when it starts.

    Attributes:
        world: its world. exchanges: by number of their instrument. folder: its log. log_id: of that. disk: below that.
        resolved: its config. strict: whether commands wait for the disk. acknowledges: whether replies only acknowledge.
        max_send_lag_ms: how old an order may be that leaves. sealing: how the log is written.
        asked_ms: how often exchanges are asked what they list, 0: never. is_shared: others may be on the account. machine: where its machine keeps locks of accounts, None: nobody else asks for them.
    """

    world: World
    exchanges: Sequence[Exchange]
    folder: Path
    log_id: str
    disk: WorldDisk
    resolved: Resolved
    strict: bool
    acknowledges: bool
    max_send_lag_ms: int | None
    sealing: Sealing
    asked_ms: int
    is_shared: bool
    machine: Path | None


class Trader:
    """One process. `begin` starts it; its end is `ended`, an error of `loop.failures`, or `die`.

    Attributes:
        is_ready: it was started and armed. is_dead: it died. ended: it has stopped in order.
        killed: the highest level that it was killed to. failure: what ended it otherwise. failed_at: when. has_failed: it has let go, too.
        accesses: its accounts by venue. opened: the looks at balances that it opened with, by venue.
        began: when it was started. armed_at: when it was armed, ns, -1: it was not.
    """

    log: LiveLog
    intake: Intake
    assembly: Assembly
    trading: Trading
    exchanges: Exchanges
    start: Start

    def __init__(self, site: Site, outputs: Watch, *, arming: Moment, gave_up: Moment) -> None:
        self.site, self.loop = site, Loop(site.world)
        self.outputs, self._arming, self._gave_up = outputs, arming, gave_up
        self.failed: Callable[[], object] = _nothing  # called once when it has failed
        self.noted: Callable[[], object] = _nothing  # called when a kill of it is in the log
        self.distrusted: Callable[[Discrepancy | Strangers], object] = _unheard  # called when its engine stops for others' doings
        self.began = self.failed_at = 0
        self.armed_at = -1
        self.has_failed = False
        self.is_ready = self.ended = self.is_dead = False
        self._acts: list[tuple[int, str, str]] = []  # what the operator did: input, action, detail
        self.killed: str | None = None
        self.failure: BaseException | None = None
        self.accesses = {
            one.name: Access(one, acknowledges=site.acknowledges, max_send_lag_ms=site.max_send_lag_ms) for one in site.exchanges
        }
        self.opened: dict[str, Reading] = {}
        self.number = 0
        self._policy = msgspec.structs.replace(POLICY, seal_rows=site.sealing.rows)
        self._links: dict[str, Link] = {}
        self._prelude: dict[str, list[Row]] | None = {}
        self._gate = Arming(self._act)
        self._timers = Timers(self._put)
        self._alarm = Alarm(self._ring)
        self._is_over = self._has_ended = self._commits = False
        self._stopping = self._distrusts = self._lost = self._shares = False
        self._locks = None if site.machine is None else AccountLocks(site.folder, {"XDG_STATE_HOME": f"{site.machine}"})
        self._distrust: Discrepancy | Strangers | None = None
        self._left = 0  # to a person, when it was stopped
        self._relisting: asyncio.Task[None] | None = None
        self._terms: list[tuple[int, Instrument]] = []  # what it was told of instruments: input, terms

    # --- from start to stop

    def begin(self) -> None:
        """Start."""
        self.loop.begin(self._run()).add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Something broke: the process cancels what may still fill, and ends."""
        if self.failure is not None:
            return
        self.failure, self.failed_at = error, self.site.world.now
        self._ask_no_more()
        self.site.world.note(f"the process fails: {type(error).__name__}: {_without_place(error, self.site.folder)}")
        if not self.is_dead:
            self.loop.begin(self._give_up()).add_done_callback(self._has_given_up)

    async def _give_up(self) -> None:
        """Nothing can be logged any more: cancel at the exchanges what may still fill, and let go."""
        if self.is_ready and not self._is_over:
            with contextlib.suppress(TimeoutError):  # the next start cancels what is left
                async with asyncio.timeout(_STOP_S):
                    await self.exchanges.cancel_open()
            self._gave_up(self)
        if hasattr(self, "exchanges"):
            await self.exchanges.let_go()
        self._unlock()

    def _has_given_up(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.has_failed = True
            if (error := task.exception()) is not None:
                self.failure = error
            self.site.world.after(0, self.failed)

    def die(self) -> None:
        """As kill -9 does."""
        self.is_dead = True
        self.loop.die()
        self._unlock()
        for access in self.accesses.values():
            access.exchange.push = None
        if hasattr(self, "log"):
            self.log.abandon()

    async def _run(self) -> None:
        site = self.site
        self.began = site.world.now
        self.log, state, known = self._open_log()
        past = past_of(site.folder)
        check_may_start(past, LIVE)
        self.number = past.next_start
        clock = Clock(self.log.last_ts, wall=self._wall, monotonic=self._monotonic)
        builder = RowBuilder(self.log.last + 1, self.log.last_ts, state.scales)
        self.intake = Intake(builder, clock, self._deliver, keeps_frames=False)
        listings = {one.name: [Listing(one.terms)] for one in site.exchanges}
        announce_all(self.intake, listings, known)
        self.intake.flush()
        instruments = instruments_after(past.instruments, self._prelude or {})
        self._terms = [(-1, one) for one in instruments]
        await self._open_exchanges(past, instruments, state.next_conn)
        self.log.sync()  # a start is durable before it arms
        self.exchanges.listen(
            self.assembly.engine.portfolio.balances_at, wallets_s=None, fees_s=None
        )  # these exchanges have no networks
        for access in self.accesses.values():
            access.is_near = True
        await self.exchanges.compare()
        self.intake.flush()
        for venue, access in self.accesses.items():
            access.is_calm = access.is_near = False
            access.connect(self.exchanges.venues[venue])
        for link in self._links.values():
            self.intake.link(link, "opened")
            self.intake.link(link, "subscribed")
        self._heed_others()
        if self._distrust is None and not self.exchanges.rivals():
            self.armed_at = site.world.now
            self._arming(self)
            self._gate.begin()
            if site.is_shared:  # where nobody else is it would find nothing, and only take time
                self.exchanges.look_out()
        if site.asked_ms:
            self._relisting = self.loop.begin(self._ask_again(listings))
        self.is_ready = True
        site.world.note(f"start {self.number} is armed")

    async def _open_exchanges(self, past: Past, instruments: Sequence[Instrument], first_conn: int) -> None:
        """Connect, and write the row of the start."""
        self._lock()
        accounts = {name: [cast("Account", access)] for name, access in self.accesses.items()}
        self.exchanges = Exchanges(accounts, instruments, past=past, first_conn=first_conn, take=self._take, fail=self.fail)
        for name, access in self.accesses.items():
            if access.exchange.countdown_ms:
                desk = self.exchanges.venues[name].desks[ACCOUNT]
                desk.countdown = Countdown(
                    access, access.exchange.countdown_ms, desk
                )  # of any length, not one that a real exchange takes
        found = await self.exchanges.open()
        self.opened = {
            name: access.readings[-2] for name, access in self.accesses.items()
        }  # the last was to judge whether it may trade
        first = self.exchanges.next_conn
        self._links = {
            one.name: Link(first + at, one.name, "market", epoch=self.number) for at, one in enumerate(self.site.exchanges)
        }
        resolved = msgspec.structs.replace(self.site.resolved, fees=self.site.resolved.fees | found.fees)
        listening = Listening(instruments, [("quotes",)] * len(instruments), first + len(instruments))
        self.intake.flush()
        prelude = self._prelude or {}
        heard = Heard(prelude, found.balances, found.others)
        self.start, self.assembly = begin(resolved, past, listening, heard, mode=LIVE)
        self._prelude = None
        if prelude:
            self.log.append(prelude)
            self.log.write()
        self.trading = Trading(self.log, self.assembly, send=self._send, strict=self.site.strict, sink=self.outputs)
        self._put("starts", self.start.row())
        self.intake.flush()

    async def _ask_again(self, listings: dict[str, list[Listing]]) -> None:
        """Ask every so often what the exchanges list."""
        sources = [Source(venue=name, exchange="binance", symbols=access.symbols) for name, access in self.accesses.items()]
        every_s = self.site.asked_ms / 1000
        await Relisting(sources, listings, self.intake, every_s=every_s, asked=lambda one: self.accesses[one.venue].listed()).run()

    def _ask_no_more(self) -> None:
        if self._relisting is not None:
            self._relisting.cancel()

    def _lock(self) -> None:
        """Keep others of this machine off the account.

        Raises:
            Refused: one of them has it.
        """
        if self._locks is not None:
            mine = [Locked(f"{ACCOUNT} at {name}", account_digest("binance", name, "simulated")) for name in self.accesses]
            try:
                self._locks.take(mine)
            except Refused:  # its text has the place and the number of a process, which are others each time
                raise Refused("another process of this machine trades on the account") from None

    def _unlock(self) -> None:
        if self._locks is not None:
            self._locks.release()

    def _open_log(self) -> tuple[LiveLog, LogState, list[Instrument]]:
        """As `upkeep.open_log`, by this world's clock and disk."""
        site = self.site
        if not (site.folder / manifest.NAME).is_file():
            header = Header(kind="log", log_id=site.log_id, origin="a simulated world")
            return LiveLog.create(site.folder, header, self._policy, site.disk.disk), LogState(), []
        log = LiveLog.open(site.folder, self._policy, site.disk.disk)
        self.log = log  # whatever comes, its lock goes with the process
        with LogReader(site.folder) as reader:
            state, known = state_of(reader), reader.instruments_at(reader.last_seq + 1)
            rows = left_off(reader, max(log.last_ts, self._wall()), f"process {self.site.world.now}")
            if rows:
                log.append({"operator": rows})
                log.write()
        return log, state, known

    def arm(self, action: str) -> None:
        """The operator arms, unless something speaks against it, or disarms."""
        if not self._stopping and not (action == ARM and self.exchanges.objections()):
            self._act(action, "a person", None)

    def keep_quiet(self) -> None:
        """The operator disarms, and nothing arms it again."""
        self._gate.end()
        self._act(DISARM, "a person", None)

    def _act(self, action: str, actor: str, detail: str | None) -> None:
        self._put("operator", (action, actor, detail))
        self.intake.flush()

    def kill(self, level: str) -> None:
        """A person kills it to a level of `KILL_LEVELS`."""
        if self._stopping:
            return
        if self.killed is None or KILL_LEVELS.index(level) > KILL_LEVELS.index(self.killed):
            self.killed = level
        if level == STOP:
            self.stop()
            return
        self._gate.end()
        self._note_kill(level)

    def _note_kill(self, level: str) -> None:
        self._put("operator", (KILL, "a person", level))
        self.intake.flush()
        if self.failure is None:
            self.noted()

    def stands(self, seq: int) -> tuple[bool, str | None]:
        """Whether it is armed as of an input, and to which level it was killed: rows of one pass may lie before and behind an act."""
        is_armed, killed = False, None
        for at, action, detail in self._acts:
            if at > seq:
                break
            if action == KILL:
                level = detail.partition(":")[0]
                is_armed, killed = False, level if killed is None else max(level, killed, key=KILL_LEVELS.index)
            elif action in (ARM, DISARM):
                is_armed = action == ARM and killed is None
        return is_armed, killed

    def terms(self, venue: str, seq: int) -> Instrument:
        """By which terms its instrument of a venue is traded, as it was told by an input."""
        return next(one for at, one in reversed(self._terms) if one.venue == venue and at <= seq)

    def halted(self) -> list[str]:
        """Venues of which it was told that nothing is traded there."""
        return [one.name for one in self.site.exchanges if self.site.asked_ms and not self.terms(one.name, self.log.last).active]

    def reset(self) -> None:
        """A person takes a kill back, as `xarb kill --reset` does, once the process is dead."""
        self.log, _, _ = self._open_log()
        self.log.append({"operator": [(self.log.last + 1, max(self.log.last_ts, self._wall()), RESET, "a person", None)]})
        self.log.sync()
        self.log.close()

    def stop(self) -> None:
        """Stop in order, as a person asks for, or a kill to the last level does."""
        if not self._stopping:
            self._left = self.left_to_a_person
            self._stopping = True
            self._gate.end()
            self.loop.begin(self._stop()).add_done_callback(self._over)

    async def _stop(self) -> None:
        is_kill = self.killed == STOP
        if is_kill:
            self._note_kill(STOP)
        else:
            self._put("operator", (DISARM, "stop", None))
            self.intake.flush()
        await self._quiet()
        if self.open_bundles() and not is_kill:
            self._put("operator", (CANCEL, "stop", "the time of a stop is up"))
            self.intake.flush()
            await self._quiet()
        if self.intake.failure.done():
            return
        await compare_at_the_end(self.exchanges.reconcile, self._quiet, self.open_bundles)
        await self._stand_down()
        await self.exchanges.let_go()
        self._unlock()
        self._is_over = True
        self._ask_no_more()
        self._alarm.cancel()
        self._put("operator", (ENDED, "stop", None))
        self.intake.flush()
        self._has_ended = True
        self.intake.flush()
        if self.log.is_full:
            raise LogError("the disk is full; trading was ended in order")
        self.ended = True

    async def _stand_down(self) -> None:
        """The exchanges need not wait for us any more."""
        try:
            async with asyncio.timeout(_STOP_S):
                await self.exchanges.stand_down()
        except TimeoutError:
            self.intake.health(FAILED, 1, None, "not switched off in time")

    async def _quiet(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _STOP_S
        while self.open_bundles() and loop.time() < until and not self.intake.failure.done():  # noqa: ASYNC110  # rows decide it
            await asyncio.sleep(_LOOK_S)

    def open_bundles(self) -> int:
        """Bundles that are on their way to an end now."""
        return self.assembly.engine.execution.under_way

    # --- rows

    def _put(self, kind: str, values: tuple[Any, ...]) -> None:
        self.intake.put(kind, values)

    def _take(self, row: VenueRow) -> None:
        self.intake.put_named(row.kind, row.values)
        if row.kind == "health" and self.is_ready:
            self._gate.judge(self.exchanges.objections())
            self._heed_others()

    def hear(self, exchange: Exchange, listing: Listing, quote: tuple[int, int, int]) -> None:
        """A quote (bid, ask, size) of an exchange reaches the process."""
        if not self.listens:
            return
        bid, ask, size = quote
        one = listing.instrument
        event = QuoteEvent(listing, None, None, bid, size, ask, size, one.px_scale, one.qty_scale)
        self.in_loop(lambda: self.intake.event(self.intake.clock.now(), self._links[exchange.name], event))

    def lose(self, exchange: Exchange, event: str) -> None:
        """The market connection of an exchange says that something is lost or there again: one of `CONNECTION_EVENTS`."""
        if self.listens:
            self.in_loop(lambda: self.intake.link(self._links[exchange.name], event, symbol=exchange.instrument.symbol))

    @property
    def listens(self) -> bool:
        """Whether it takes what comes."""
        return self.is_ready and not self.is_dead and self.failure is None and not self._is_over

    def in_loop(self, call: Callable[[], object]) -> None:
        """Call something as one of the process's own callbacks."""
        self.loop.call_soon(call)

    def _deliver(self, rows: dict[str, list[Row]]) -> None:
        """Rows of a pass, as `live.session` takes them."""
        if self._prelude is not None:
            for kind, mine in rows.items():
                self._prelude.setdefault(kind, []).extend(mine)
            return
        for row in rows.get("instruments", ()):
            self._terms.append((row[0], Instrument(**instrument_fields(slow_row("instruments", row).values))))
        self._acts += [(seq, action, detail or "") for seq, _, action, _, detail in rows.get("operator", ())]
        try:
            if self._has_ended:
                self.log.append(rows)
                self.log.write()
                return
            self.trading.take(rows)
        except BaseException as error:
            self.fail(error)
            raise
        self._heed()
        if not self._commits:
            self._commits = True
            self.loop.call_later(self.site.sealing.commit_ns / NANOS_PER_S, self._commit)
        if self.log.is_full and self.intake.takes_market:
            self.intake.takes_market = False
            self.site.world.note("the disk is full: the process stops in order")
            self.stop()
        if not self._is_over:
            self._plan()

    def _heed(self) -> None:
        """As `live.session` does."""
        found, before = self.assembly.engine.distrust, self._distrust
        if found is not None and found is not before:
            self._distrust = found
            self._distrusts = self._distrusts or isinstance(found, Discrepancy)
            self.distrusted(found)
            if before is None:
                self._end_entries(found.actor, f"{found}")
        if (loss := self.assembly.engine.execution.loss) is not None and not self._lost:
            self._lost = True
            self._end_entries(LOSSES, loss)

    def _heed_others(self) -> None:
        """As `live.session` does: another xarb on an account of ours is a kill to `entries`."""
        if (others := self.exchanges.rivals()) and not self._shares:
            self._shares = True
            self._gate.end()
            self._put("operator", (KILL, SHARED, f"{ENTRIES}: {'; '.join(others)}"))
            self.in_loop(self._others_noted)

    def _others_noted(self) -> None:
        """The kill is in the log."""
        self.killed = self.killed or ENTRIES
        self.intake.flush()
        if self.failure is None:
            self.noted()

    def _end_entries(self, actor: str, why: str) -> None:
        self._acts.append((self.log.last, KILL, ENTRIES))  # the engine begins nothing from here on, also before the row
        self._gate.end()
        self.killed = self.killed or ENTRIES
        if self.failure is None:
            self.noted()
        self._put("operator", (KILL, actor, f"{ENTRIES}: {why}"))

    def _commit(self) -> None:
        """What the writer thread does every so often."""
        self._commits = False
        if self.failure is None and not self.ended:
            try:
                self.log.tend()
            except Exception as error:  # noqa: BLE001  # it ends the process, as the next write would
                self.intake.fail(error)
                self.fail(error)

    def _send(self, commands: Sequence[AnyCommand]) -> None:
        self.exchanges.follow(self.assembly.engine.instruments)
        self.exchanges.send(orders_of(commands))

    # --- time

    def _monotonic(self) -> int:
        return self.site.world.now

    def _wall(self) -> int:
        return self.site.world.unix

    def _plan(self) -> None:
        engine, now = self.assembly.engine, self.intake.clock.now()
        again = self._timers.look(now, self.log.last_ts, engine.timers(), engine.next_due)
        self._alarm.set(again, now)

    def _ring(self) -> None:
        if not self.intake.failure.done() and not self._is_over:
            self._plan()

    def unsettled(self, exchange: Exchange) -> dict[str, int]:
        """By asset what the exchange has more (negative: less) than the engine says, others' locks at the opening apart."""
        ours, locked = self.assembly.engine.portfolio.balances_at(ACCOUNT, exchange.name), self.opened[exchange.name].locked
        more = {one: exchange.balances.get(one, 0) - locked.get(one, 0) - ours.get(one, 0) for one in {**ours, **exchange.balances}}
        return {asset: amount for asset, amount in more.items() if amount}

    @property
    def opening(self) -> Mapping[tuple[str, str, str], int]:
        """What it opened its books with."""
        return self.assembly.opening

    @property
    def distrusts(self) -> bool:
        """Whether its engine found other money at an exchange than it may book."""
        return self._distrusts

    @property
    def left_to_a_person(self) -> int:
        """Orders that stay of unknown fate until a person accepts what money moved: everything but the balance says that they are not there."""
        if not self._distrusts:
            return 0
        desks = [desk for venue in self.exchanges.venues.values() for desk in venue.desks.values()]
        return max(self._left, sum(one.denied_at > 0 for desk in desks for one in desk.orders.open_orders()))

    @property
    def balances(self) -> Mapping[tuple[str, str, str], int]:
        """What the engine says that the accounts hold."""
        return {key: amount for key, amount in self.assembly.engine.portfolio.balances().items() if key[0] == ACCOUNT}


def _without_place(error: BaseException, folder: Path) -> str:
    """An error's text without the place of the log, which is another one each time."""
    return str(error).replace(str(folder), "LOG")


def _nothing() -> None:
    """Nobody waits for it."""


def _unheard(_: Discrepancy | Strangers) -> None:
    """Nobody waits for it."""
