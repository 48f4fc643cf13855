"""The chains of a session that trades for real: connections to nodes and relays, wallets opened, nonces as the log has them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import aiohttp

from xarb.config import Experiment
from xarb.config.chains import ChainConfig
from xarb.config.sending import SendingConfig
from xarb.errors import ConfigError, InvariantBroken, LogError, Rejected, Retryable
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.model.command import ChainCommand
from xarb.starts import Balances
from xarb.venues.accountlock import Locked, account_digest
from xarb.venues.balancecheck import Ours
from xarb.venues.dex.desk import ChainDesk, Compared, DeskTerms
from xarb.venues.dex.fees import FeePolicy
from xarb.venues.dex.nonces import Nonces, rebuilt
from xarb.venues.dex.outgoing import Access
from xarb.venues.dex.permits import Permits
from xarb.venues.dex.relay import Relay, shown
from xarb.venues.dex.rpc import Rpc
from xarb.venues.dex.stuck import StuckPolicy
from xarb.venues.dex.venue import ChainVenue
from xarb.venues.intake import Intake
from xarb.venues.venue import VenueRow
from xarb.venues.wallets import Wallet, open_wallet
from xarb.wires.node import BadAnswer

_GWEI: Final = 10**9
_ENV: Final = "env:"
_Made = TypeVar("_Made")
_RELAY_S: Final = 5.0
_PAUSE_S: Final = 0.5  # before another connection to a node is tried
_AGAIN_S: Final = 0.1  # before the chain is looked at again at the end


class Books(NamedTuple):
    """Our books: what an account has at a chain, and the log's clock, ns."""

    ours: Ours
    now: Callable[[], int]


class Connection:
    """A node that is connected anew whenever it is asked after its connection ended; the nodes of the config in turn.

    Args:
        addresses: as `Rpc` takes them, the preferred one first.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._turn = 0
        self._rpc: Rpc | None = None
        self._lock = asyncio.Lock()

    async def call(self, method: str, *params: Any) -> Any:
        """As `ChainNode`."""
        async with self._lock:
            if self._rpc is None or self._rpc.ended.done():
                self._rpc = await self._connect()
        return await self._rpc.call(method, *params)

    async def _connect(self) -> Rpc:
        await self.close()
        error: Retryable | None = None
        for _ in self._addresses:
            rpc = Rpc(self._addresses[self._turn % len(self._addresses)], _unasked)
            try:
                await rpc.open()
            except Retryable as found:
                await rpc.close()
                error, self._turn = found, self._turn + 1
            else:
                return rpc
        await asyncio.sleep(_PAUSE_S)
        raise error or Retryable("no node", reason="unreachable")

    async def close(self) -> None:
        """End the connection."""
        rpc, self._rpc = self._rpc, None
        if rpc is not None:
            await rpc.close()


class Chains:
    """The chains of one start on which transactions are sent.

    Args:
        experiment: names them.
        rows: the `transactions` rows of the log, in order.
        whose: id of the log and number of the start: whose orders these are.
        first_conn: number of the first connection; numbers are unique in a log.
        keep: takes rows, and returns once the log holds them.
        environment: where passphrases and addresses are looked for, None for the process's own.
    """

    def __init__(
        self,
        experiment: Experiment,
        rows: Sequence[Mapping[str, Any]],
        *,
        whose: tuple[str, int],
        first_conn: int,
        keep: Callable[[Sequence[VenueRow]], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._keep, self._rows, self._whose = keep, rows, whose
        self._environment = os.environ if environment is None else environment
        self._sending = {name: (experiment.chains[name], one) for name, one in experiment.sending.items()}
        self._wallets = {name: self._open(one) for name, (_, one) in self._sending.items()}
        self._connections: list[Connection] = []
        self._http: aiohttp.ClientSession | None = None
        self._natives = {name: experiment.onchain[name].own.native for name in self._sending}
        self._tasks: list[asyncio.Task[None]] = []
        self._conn = first_conn
        self.next_conn = first_conn + len(self._sending)
        self.venues: dict[str, ChainVenue] = {}

    def _open(self, config: SendingConfig) -> tuple[Wallet, Wallet | None]:
        """The wallet that signs, and who we are to the relay."""
        friend = None if config.relay_wallet is None else open_wallet(config.relay_wallet, self._environment)
        if config.relay is not None:
            shown(self._relay_url(config))
        return open_wallet(config.wallet, self._environment), friend

    def _relay_url(self, config: SendingConfig) -> str:
        url = config.relay or ""
        if url.startswith(_ENV):
            url = self._environment.get(url.removeprefix(_ENV), "")
            if not url:
                raise ConfigError(f"relay {config.relay}: the environment variable is not set")
        return url

    def wallets(self) -> dict[tuple[str, str], Wallet]:
        """What signs, by account and chain."""
        return {(sending.account, name): self._wallets[name][0] for name, (_, sending) in self._sending.items()}

    async def open(self) -> Balances:
        """Connect, compare nonces with the chain, and ask what there is; nothing is sent. Balances by (account, chain, asset).

        Raises:
            Refused: a node is of another chain, or there is no executor of ours. Retryable, Rejected: it did not say.
        """
        self._http = aiohttp.ClientSession()
        for number, (name, (chain, sending)) in enumerate(self._sending.items()):
            wallet, friend = self._wallets[name]
            node = Connection(chain.rpc)
            self._connections.append(node)
            relay = None if friend is None else Relay(self._relay_url(sending), self._http, friend, timeout_s=_RELAY_S)
            nonces = rebuilt(Nonces(name, chain.chain_id, wallet.address), self._rows)
            desk = ChainDesk(
                terms_of(sending, name, whose=self._whose, conn=self._conn + number),
                Access(wallet, node, relay),
                permits=permits_of(chain, sending),
                nonces=nonces,
                keep=self._keep,
            )
            self.venues[name] = ChainVenue(desk)
        self._keep([_opened(venue) for venue in self.venues.values()])
        found = await asyncio.gather(*(_sound(name, self._opened(name, venue)) for name, venue in self.venues.items()))
        return {place: amount for one in found for place, amount in one.items()}

    async def _opened(self, name: str, venue: ChainVenue) -> Balances:
        await venue.open()
        _, sending = self._sending[name]
        found = await venue.desk.holdings(sending.tokens, self._natives[name])
        return {(sending.account, name, asset): amount for asset, amount in found.items()}

    def locked(self) -> list[Locked]:
        """The addresses as other processes on this machine know them."""
        return [
            Locked(
                f"{sending.account} at {name}",
                account_digest("evm", str(chain.chain_id), self._wallets[name][0].address.lower()),
            )
            for name, (chain, sending) in self._sending.items()
        ]

    def rivals(self) -> list[str]:
        """What shows that somebody else sends from one of the addresses; a `health` row tells of each."""
        return [venue.desk.rival for venue in self.venues.values() if venue.desk.rival is not None]

    def objections(self) -> list[str]:
        """What speaks against sending now."""
        return [why for venue in self.venues.values() for why in venue.desk.objections]

    def listen(self, fail: Callable[[BaseException], None], books: Books | None = None) -> None:
        """From here on follow the chains, and tell `fail` what ends that; the start is in the log. `books`: what balances are compared with."""
        for name, venue in self.venues.items():
            if books is not None:
                venue.desk.compare_with(books.ours, Compared(self._sending[name][1].tokens, self._natives[name], books.now))
            venue.listen()
            self._tasks.append(asyncio.create_task(_told(venue, fail)))

    def send(self, commands: Sequence[ChainCommand]) -> None:
        """Hand commands to their chains, in order.

        Raises:
            InvariantBroken: one is of another chain or account, or of another start; or everything has ended.
        """
        for command in commands:
            if command.venue not in self.venues:
                raise InvariantBroken(f"order {command.order} is for {command.venue}, where nothing is sent")
            self.venues[command.venue].send([command])

    async def cancel_open(self) -> None:
        """Cancel whatever may still be included."""
        await asyncio.gather(*(venue.cancel_open() for venue in self.venues.values()))

    async def end(self, within_s: float) -> list[str]:
        """Begin nothing more, cancel what waits, and look at the chains until nothing does; what may be included when the time is up.

        Raises:
            Retryable, Rejected: a node did not say what became of it.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        await self.cancel_open()
        while True:
            await self.reconcile()
            left = [f"{tx_hash} on {name}" for name, venue in self.venues.items() for tx_hash in venue.desk.waiting]
            if not left or loop.time() >= until:
                return left
            await asyncio.sleep(_AGAIN_S)

    async def reconcile(self) -> None:
        """Compare with the chains once more.

        Raises:
            Retryable, Rejected: a node did not say.
        """
        await asyncio.gather(*(_sound(name, venue.reconcile()) for name, venue in self.venues.items()))

    async def let_go(self) -> None:
        """End everything; may be called again."""
        venues, self.venues = self.venues, {}
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(venue.close() for venue in venues.values()), *self._tasks, return_exceptions=True)
        for connection in self._connections:
            await connection.close()
        if self._http is not None:
            await self._http.close()


def transactions_of(folder: Path, sealed: Manifest | None = None) -> list[Mapping[str, Any]]:
    """What a log that nobody writes says of transactions, in order; `sealed` is its manifest where that was read already.

    Raises:
        LogError: it is damaged.
    """
    with LogReader(folder, found=sealed) as reader:
        return list(reader.rows("transactions"))


def _opened(venue: ChainVenue) -> VenueRow:
    """The row before which no receipt can have the number of its connection."""
    terms = venue.desk.terms
    about = {"conn": terms.conn, "venue": terms.venue, "event": "opened", "epoch": 1}
    return VenueRow("connections", {**about, "source": f"transactions of {terms.account}", "detail": None})


async def _sound(name: str, work: Coroutine[Any, Any, _Made]) -> _Made:
    """What a node says, where that can be read.

    Raises:
        Rejected: it cannot.
    """
    try:
        return await work
    except BadAnswer as error:
        raise Rejected(f"{name}: {error}") from None


async def _told(venue: ChainVenue, fail: Callable[[BaseException], None]) -> None:
    """Say what ends a venue's work."""
    fail(await venue.failed())


def keeper(intake: Intake, log: LiveLog, *, strict: bool) -> Callable[[Sequence[VenueRow]], None]:
    """What puts a chain's rows into a log, and returns once it holds them; `strict`: once the disk does.

    It is not for calls from within a delivery of the intake. What it returns raises LogError where the log does not take them.
    """

    def keep(rows: Sequence[VenueRow]) -> None:
        for row in rows:
            intake.put_named(row.kind, row.values)
        intake.flush()
        if intake.failure.done():
            why = intake.failure.exception()
            raise LogError(f"the log takes no rows any more, so that nothing is sent: {type(why).__name__}: {why}") from why
        if strict:
            log.sync()

    return keep


def terms_of(config: SendingConfig, venue: str, *, whose: tuple[str, int], conn: int) -> DeskTerms:
    """How an address is used by the config, for a start of a log."""
    log_id, start = whose
    return DeskTerms(
        account=config.account,
        venue=venue,
        log_id=log_id[:8],
        start=start,
        conn=conn,
        fees=fees_of(config),
        stuck=StuckPolicy(wait_blocks=config.wait_blocks, max_replacements=config.max_replacements, max_cancels=config.max_cancels),
        finality_blocks=config.finality_blocks,
        relay_blocks=config.relay_blocks,
        unseen_blocks=config.unseen_blocks,
        poll_s=config.poll_ms / 1000,
    )


def fees_of(config: SendingConfig) -> FeePolicy:
    """How fees are bid by the config."""
    return FeePolicy(tip_wei=wei(config.tip_gwei), cap_wei=wei(config.max_fee_gwei), rises=config.base_fee_rises)


def permits_of(chain: ChainConfig, sending: SendingConfig) -> Permits:
    """What may be signed by the config: its chain, executor, tokens, pools and lenders, and no approvals."""
    return Permits(
        chain_id=chain.chain_id,
        executor=sending.executor.lower(),
        tokens=frozenset(token.lower() for token in sending.tokens),
        pools=frozenset(pool.lower() for pool in chain.pools),
        lenders=frozenset(lender.lower() for lender in sending.lenders),
        max_gas=sending.max_gas,
        max_fee_wei=wei(sending.max_fee_gwei),
    )


def wei(gwei: Decimal) -> int:
    """Whole wei, rounded down: it bounds what is spent."""
    return int(gwei * _GWEI)


def _unasked(_name: str, _said: Any) -> None:
    """Nothing is subscribed."""
