"""The exchanges of a session that trades for real: accounts opened and judged, commands handed out, what the exchanges say taken in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.config import Experiment
from xarb.engine.portfolio import Place
from xarb.errors import ConfigError, InvariantBroken, Refused, Rejected, Retryable
from xarb.live.begin import Past
from xarb.live.books import opening_of_places
from xarb.model.command import Command, SubmitOrder
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import NANOS_PER_MS, Money
from xarb.starts import Balances
from xarb.venues import balancecheck
from xarb.venues.account import Account, AccountTerms, weight_budget
from xarb.venues.accountdesk import Wishes
from xarb.venues.accountlock import Locked
from xarb.venues.balancecheck import Ours
from xarb.venues.cex import CLOSE_S, CexVenue
from xarb.venues.feeds import Source
from xarb.venues.feewatch import FeeWatch
from xarb.venues.funds import Networks
from xarb.venues.keys import Keys, load_keys
from xarb.venues.orderrules import countdown_of
from xarb.venues.readiness import Readiness, inspect, told
from xarb.venues.vault import stores_of
from xarb.venues.venue import VenueRow

_BEFORE_MS: Final = 60_000  # fills are asked for from so long before the log's last row
_LEFT_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)  # pauses between cancels of what earlier starts left, the last repeats,
_LEFT_MORE_S: Final = 5.5  # until so long behind the settle time: by then each of them can have been looked up often enough
Take = Callable[[VenueRow], None]
Fail = Callable[[BaseException], None]
Owner = tuple[str, str]  # an account's label, and its venue


class Found(NamedTuple):
    """What the exchanges said before the start.

    Attributes:
        balances: free ones by (account, venue, asset), but for what nobody can explain, which an account tells behind the start.
        others: the same of what is locked, now that our orders are canceled: others' orders hold it.
        fees: the true fee tier by instrument ("BTC/USDT@binance").
        readiness: what was found, account by account.
    """

    balances: Balances
    others: Balances
    fees: dict[str, FeeTier]
    readiness: list[Readiness]


def accounts_of(
    experiment: Experiment,
    sources: Sequence[Source],
    symbols: Mapping[str, Sequence[str]],
    environment: Mapping[str, str] | None = None,
    *,
    keys: Mapping[Owner, Keys] | None = None,
    now: Callable[[], int] | None = None,
) -> dict[str, list[Account]]:
    """The accounts of the config by venue; within a running loop.

    Args:
        experiment: names them.
        sources: say which exchanges they are at.
        symbols: what they may trade, by venue.
        environment: where keys are looked for, None for the process's own.
        keys: theirs, where they are known already.
        now: the log's clock, ns, which bounds the age of commands; None: no commands will be sent.

    Raises:
        ConfigError: as `keys_of`.
    """
    by_venue = {source.venue: source for source in sources}
    if keys is None:
        keys = keys_of(experiment, sources, environment)
    budgets = {venue: weight_budget(by_venue[venue].exchange) for _, venue in keys}
    found: dict[str, list[Account]] = {}
    for (label, venue), mine in keys.items():
        terms = _terms(experiment, label, by_venue[venue])
        account = Account(terms, mine, symbols.get(venue, ()), weight=budgets[venue], now=now or time.monotonic_ns)
        found.setdefault(venue, []).append(account)
    return found


def keys_of(experiment: Experiment, sources: Sequence[Source], environment: Mapping[str, str] | None = None) -> dict[Owner, Keys]:
    """The keys of the config's accounts, from `live.keys`, a store or the environment (None: the process's own).

    Raises:
        ConfigError: a venue has no market data, so that nothing says which exchange it is; keys are missing, or others may read them;
            orders are not possible at an exchange.
    """
    by_venue = {source.venue: source for source in sources}
    environment = os.environ if environment is None else environment
    stores = stores_of(environment)
    keys: dict[Owner, Keys] = {}
    for label, venues in experiment.accounts.items():  # all of them before anything is opened
        for venue in venues:
            if venue in experiment.chains:  # a wallet signs there
                continue
            if venue not in by_venue:
                raise ConfigError(
                    f"{experiment.origin}: venues.{venue}: there is no [markets.{venue}] that says which exchange it is"
                )
            file = experiment.live.keys.get(f"{label}.{venue}")
            path = None if file is None else experiment.folder / file
            try:
                countdown_of(by_venue[venue].exchange, int(experiment.live.cancel_after_ms))
            except ConfigError as error:
                raise ConfigError(f"{experiment.origin}: live: {error}") from None
            keys[label, venue] = load_keys(venue, label, environment=environment, file=path, stores=stores)
    return keys


def locked(keys: Mapping[Owner, Keys], sources: Iterable[Source]) -> list[Locked]:
    """The accounts of these keys as other processes on this machine know them."""
    by_venue = {source.venue: source for source in sources}
    return [one.locked(by_venue[venue].exchange, by_venue[venue].place) for (_, venue), one in keys.items()]


def spot_symbols(instruments: Iterable[Instrument]) -> dict[str, list[str]]:
    """The symbols of those that real orders can trade, by venue."""
    found: dict[str, list[str]] = {}
    for one in instruments:
        if one.kind == "spot":
            found.setdefault(one.venue, []).append(one.symbol)
    return found


def _terms(experiment: Experiment, label: str, source: Source) -> AccountTerms:
    live = experiment.live
    return AccountTerms(
        label=label,
        exchange=source.exchange,
        timeout_ms=int(live.request_timeout_ms),
        max_clock_ms=int(live.max_clock_offset_ms),
        max_send_lag_ms=int(live.max_send_lag_ms),
        settle_ms=live.settle_ms,
        cancel_after_ms=int(live.cancel_after_ms),
        allow_withdraw=label in live.allow_withdraw,
        place=source.place,
    )


class Exchanges:
    """The venues of one start.

    Args:
        accounts: by venue, as `accounts_of` gives them.
        instruments: by number; what the engine learns of them later is told by `follow`.
        past: what the log knows: whose orders these are, what earlier starts left, and the fills that it has, which an exchange that lists
            them again does not tell anew.
        first_conn: number of the first private connection; numbers are unique in a log.
        take: takes rows.
        fail: told of a failure that ends the session.
    """

    def __init__(
        self,
        accounts: Mapping[str, Sequence[Account]],
        instruments: Sequence[Instrument],
        *,
        past: Past,
        first_conn: int,
        take: Take,
        fail: Fail,
    ) -> None:
        self._accounts = accounts
        self._instruments = list(instruments)
        self._past, self._take, self._fail = past, take, fail
        since_ms = 0 if past.span is None else max(past.last_ts // NANOS_PER_MS - _BEFORE_MS, 0)
        ended_at = 0 if past.span is None else past.last_ts
        wishes = Wishes(log_id=past.log_id, start=past.next_start, left=past.left, since_ms=since_ms, ended_at=ended_at)
        self._listens = False
        self._free: dict[Place, int] = {}  # as the exchanges last said before the start
        self._locked: dict[Place, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._venues: dict[str, CexVenue] = {}
        self._networks: dict[str, Networks] = {}
        self._fees_told: list[FeeWatch] = []
        conn = first_conn
        for venue, mine in accounts.items():
            conns = {account.label: conn + number for number, account in enumerate(mine)}
            conn += len(mine)
            self._venues[venue] = CexVenue(venue, mine, self._instruments, wishes=wishes, conns=conns)
            for desk in self._venues[venue].desks.values():
                desk.check.expect(self._by_the_log)
        self.next_conn = conn

    @property
    def venues(self) -> Mapping[str, CexVenue]:
        """The venues by name; none after `let_go`."""
        return self._venues

    async def open(self) -> Found:
        """Connect, reconcile, cancel what earlier starts left open, and ask everything that decides whether orders may be sent.

        Raises:
            Refused: something speaks against it; all of it is said.
            Retryable, Rejected: an exchange did not tell.
        """
        await asyncio.gather(*(venue.open() for venue in self._venues.values()))
        left = await self._end_left()
        unexplained = await self._look_again()
        readiness = []
        for venue_id, mine in self._accounts.items():
            assets = {asset for one in self._instruments if one.venue == venue_id for asset in (one.base, one.quote)}
            for account in mine:
                found = await inspect(account, venue_id, sorted(assets))
                readiness.append(found)
                self._fees_told.append(FeeWatch(account, venue_id, found.fees))
                for row in (told(account, venue_id, found), *found.wallets):
                    self._take(row)
            self._networks[venue_id] = Networks(mine[-1], venue_id, sorted(assets), readiness[-1].wallets)
        objections = (
            left + self.rivals() + [f"{one.account} at {one.exchange}: {why}" for one in readiness for why in one.objections]
        )
        if objections:
            raise Refused("no real orders: " + "; ".join(objections))
        await self._begin_countdowns()
        others = {place: Money(amount) for place, amount in self._locked.items() if amount}
        return Found(opening_of_places(self._free, unexplained), others, self._fees(readiness), readiness)

    async def _look_again(self) -> dict[Place, int]:
        """Take what was said; what exchanges have more than our books, by two looks, since one may not show a fill yet."""
        found = self._unexplained()
        if found:
            await asyncio.sleep(balancecheck.AGAIN_S)
            await self.reconcile()
            found = self._unexplained()
        return found

    def _by_the_log(self, account: str, venue: str) -> Mapping[str, int]:
        """What an account should have before the start: by the log's end and what was told since."""
        self._take_in()
        return {} if self._past.books is None else self._past.books.totals(account, venue)

    def _unexplained(self) -> dict[Place, int]:
        self._take_in()
        books = self._past.books
        found = {} if books is None else books.unexplained(self._free, self._locked)
        return {place: amount for place, amount in found.items() if place[1] in self._accounts}  # chains are asked by themselves

    def _take_in(self) -> None:
        """Hand on what the venues told, and know what it says of money."""
        books = self._past.books
        for venue in self._venues.values():
            for row in venue.take_rows():
                values = row.values
                if not self._tell(row):
                    continue
                if row.kind == "balances":
                    place = (values["account"], values["venue"], values["asset"])
                    self._free[place], self._locked[place] = values["free"], values["locked"]
                elif books is not None:
                    books.take(row.kind, values)

    async def _begin_countdowns(self) -> None:
        """From here on the exchanges that can do so cancel what rests when they do not hear from us.

        Raises:
            Refused, Retryable: one of them will not, or did not say so.
        """
        for name, venue in self._venues.items():
            for desk in venue.desks.values():
                if desk.countdown is not None:
                    try:
                        await desk.countdown.begin()
                    except (Rejected, Retryable) as error:
                        kind = Refused if isinstance(error, Rejected) else Retryable
                        raise kind(f"no real orders: {desk.account.label} at {name}: no countdown: {error}") from None

    async def _end_left(self) -> list[str]:
        """Cancel what earlier starts left until the fate of each order is known; what is not known then speaks against a start."""
        for pause_s in self._left_pauses():
            if not any(venue.left for venue in self._venues.values()):
                break
            await asyncio.sleep(pause_s)
            await asyncio.gather(*(venue.cancel_left() for venue in self._venues.values()))
            await self.reconcile()  # a cancel moves money, and so does a fill before it
        known = {(account.label, venue) for venue, mine in self._accounts.items() for account in mine}
        return [
            f"order {one.sent_id} of an earlier start may be open at {name} still" + (f": {one.doubt}" if one.doubt else "")
            for name, venue in self._venues.items()
            for one in venue.left
        ] + [
            f"order {one.name.order} of start {one.name.start} may be open at {one.venue} still, and the config has no account {one.account} there"
            for one in self._past.left
            if (one.account, one.venue) not in known
        ]

    def _left_pauses(self) -> Iterator[float]:
        """Pauses of together `_LEFT_MORE_S` more than the longest settle time, or a little over."""
        settle_s = max((one.terms.settle_ms / 1000 for mine in self._accounts.values() for one in mine), default=0.0)
        passed = 0.0
        for turn in itertools.count():
            if passed >= settle_s + _LEFT_MORE_S:
                return
            pause_s = _LEFT_S[min(turn, len(_LEFT_S) - 1)]
            passed += pause_s
            yield pause_s

    def _fees(self, readiness: Sequence[Readiness]) -> dict[str, FeeTier]:
        """The tiers by instrument; accounts that pay different fees on one instrument cannot share a session."""
        found: dict[str, FeeTier] = {}
        answers = iter(readiness)
        for venue, mine in self._accounts.items():
            for account in mine:
                for symbol, tier in next(answers).fees.items():
                    known = found.setdefault(f"{symbol}@{venue}", tier)
                    if (known.maker_ppb, known.taker_ppb, known.asset) != (tier.maker_ppb, tier.taker_ppb, tier.asset):
                        raise Refused(f"{account.label} pays other fees on {symbol}@{venue} than another account does")
        return found

    def objections(self) -> list[str]:
        """What speaks against new orders now; a `health` row tells of each change."""
        return [why for venue in self._venues.values() for desk in venue.desks.values() for why in desk.objections]

    def rivals(self) -> list[str]:
        """What shows that another xarb trades on one of the accounts; a `health` row tells of each."""
        return [desk.rival for venue in self._venues.values() for desk in venue.desks.values() if desk.rival is not None]

    def follow(self, instruments: Sequence[Instrument]) -> None:
        """Know the instruments as the engine does now."""
        self._instruments[:] = instruments

    def listen(self, ours: Ours, *, wallets_s: float | None, fees_s: float | None) -> None:
        """From here on hand on what the exchanges say, as it comes, and compare balances with ours.

        Which networks are open, and what accounts pay, is asked for every so many seconds, None: never.
        """
        self._listens = True
        for name, venue in self._venues.items():
            self._spawn(self._hear(venue))
            for label, desk in venue.desks.items():
                desk.keep_countdown()
                others = {place[2]: amount for place, amount in self._locked.items() if place[:2] == (label, name)}
                desk.check.begin(ours, others)
        if wallets_s is not None:
            for venue_id, networks in self._networks.items():
                self._spawn(self._watch(venue_id, networks, wallets_s))

        for watch in self._fees_told if fees_s is not None else ():
            self._spawn(self._watch_fees(watch, fees_s or 0.0))

    async def _watch_fees(self, watch: FeeWatch, fees_s: float) -> None:
        while True:
            await asyncio.sleep(fees_s)
            for row in await watch.fresh():
                self._take(row)

    async def _watch(self, venue: str, networks: Networks, wallets_s: float) -> None:
        while True:
            await asyncio.sleep(wallets_s)
            try:
                rows = await networks.fresh()
            except (Retryable, Rejected) as error:
                rows = [VenueRow("health", {"venue": venue, "metric": "wallets_unknown", "value": 1, "detail": str(error)})]
            for row in rows:
                self._take(row)

    async def _hear(self, venue: CexVenue) -> None:
        while True:
            await venue.rows_came()
            self._hand_on(venue)
            if venue.failure is not None:
                raise venue.failure

    def _hand_on(self, venue: CexVenue) -> None:
        for row in venue.take_rows():
            self._tell(row)

    def _tell(self, row: VenueRow) -> bool:
        """Hand a row on, unless it is a fill that the log has; whether it was."""
        values = row.values
        if (
            row.kind == "reports"
            and (values["account"], values["venue"], values["symbol"], values.get("fill_id")) in self._past.fills
        ):
            return False
        self._take(row)
        return True

    def send(self, commands: Sequence[Command]) -> None:
        """Hand commands to their venues, in order; what becomes of them comes as rows. After `let_go` nothing leaves, and rows say so."""
        by_venue: dict[str, list[Command]] = {}
        for command in commands:
            by_venue.setdefault(self._instruments[command.instrument].venue, []).append(command)
        for venue, mine in by_venue.items():
            if venue in self._venues:
                try:
                    self._venues[venue].send(mine)
                except InvariantBroken as error:
                    self._fail(error)
            else:
                self._not_sent(venue, mine)

    def _not_sent(self, venue: str, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, SubmitOrder):
                values = {name: getattr(command, name) for name in ("account", "strategy", "order", "client_order_id", "side")}
                values |= {"venue": venue, "symbol": self._instruments[command.instrument].symbol, "start": self._past.next_start}
                values |= {"event": "not_sent", "source": "send", "reason": "session_ended"}
                self._take(VenueRow("reports", values))

    def look_out(self) -> None:
        """Orders may leave from now on: another xarb is looked for at each account."""
        for venue in self._venues.values():
            for desk in venue.desks.values():
                desk.look_out()

    async def cancel_open(self) -> None:
        """Cancel whatever may still fill."""
        await asyncio.gather(*(venue.cancel_open() for venue in self._venues.values()))

    async def reconcile(self) -> None:
        """Compare with the exchanges once more, so that the log ends with what is true there.

        Raises:
            Retryable, Rejected: an exchange did not tell how things stand.
        """
        await asyncio.gather(*(venue.reconcile() for venue in self._venues.values()))

    async def compare(self) -> None:
        """Compare balances with ours until they agree or each difference is told; what they said is handed on when this returns."""
        await asyncio.gather(*(desk.settle_balances() for venue in self._venues.values() for desk in venue.desks.values()))
        for venue in self._venues.values():
            self._hand_on(venue)

    async def stand_down(self) -> None:
        """The exchanges need not wait for us any more, but where an order may be open still; readings tell."""
        await asyncio.gather(*(desk.stand_down() for venue in self._venues.values() for desk in venue.desks.values()))

    async def let_go(self) -> None:
        """End the connections; may be called again. Countdowns that were begun for a start that did not come about are switched off."""
        if not self._listens:
            with contextlib.suppress(TimeoutError):  # then it runs out, and nothing of ours is open
                async with asyncio.timeout(CLOSE_S):
                    await self.stand_down()
        venues, self._venues = self._venues, {}
        closed = await asyncio.gather(*(venue.close() for venue in venues.values()), return_exceptions=True)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for venue in venues.values():
            self._hand_on(venue)
        for one in closed:
            if isinstance(one, BaseException):
                raise one

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
