"""What the last start of a log left on chains: cycles and paths that are not final, and transactions of whose blocks a chain may think again.

It is read from what the start opened with, the wishes that it decided on, and every row of `transactions` and `receipts`, with the code by which an
engine follows them. What lies behind the last input that its engine applied is told to whoever keeps the books: no ledger has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from xarb.carrying.rows import rows_of
from xarb.engine.bookings import Change, follow
from xarb.engine.carried import CarriedCycle, CarriedPath, CarriedTransaction, Planned, PlannedSwap
from xarb.engine.receipts import GAS, KINDS, SWAP, Receipts
from xarb.engine.sentcycle import Path
from xarb.log.reader import LogReader, Selection
from xarb.model.event import SlowRow
from xarb.model.order import CYCLE_LIFE, CYCLE_OPEN, advance
from xarb.model.units import MONEY_SCALE, parse_money
from xarb.starts import LIVE, Span

Name = tuple[int, int]  # start, and order or bundle in it


class News(NamedTuple):
    """Something that no ledger has.

    Attributes:
        account, strategy: whose money, by the transaction.
        changes: by asset.
        bundle: name of the bundle of the path that it is of; None: it is of none.
        swapped: what that swapped, by token.
        gas: what that changed beside, by asset.
        is_open: whether a block may hold that path from here on.
    """

    account: str
    strategy: str
    changes: Mapping[str, int]
    bundle: Name | None
    swapped: Mapping[str, int]
    gas: Mapping[str, int]
    is_open: bool


class _Swap(NamedTuple):
    """What a path was planned as, and the base of what hedges it."""

    planned: PlannedSwap
    base: str


class _Sent:
    """A cycle or a path, as it becomes known; `state` and `tx_hash` as `bookings.Followed` has them."""

    def __init__(self, plain: CarriedCycle) -> None:
        self.plain, self.state, self.tx_hash = plain, plain.state, plain.tx_hash
        path = plain.path
        self.path = None if path is None else Path((path.token_in, path.token_out), gives_base=path.gives_base, deadline_s=0)


class LeftOnChain:
    """What a start left on chains. Of a start on paper nothing is left: its transactions ended with the process.

    Args:
        reader: the log, everything of it sealed.
        span: the start.
        until: the input up to which rows count.
        tell: takes what no ledger has.

    Raises:
        LogError: a file was changed, or a receipt does not say what it must.
    """

    def __init__(self, reader: LogReader, span: Span, *, until: int, tell: Callable[[News], None]) -> None:
        self._span, self._tell = span, tell
        self._sent: dict[int, _Sent] = {}  # by numbers of orders of the start; those of earlier ones are below zero
        self._names: dict[int, Name] = {}
        config: Mapping[str, Any] = span.start.config.get("onchain", {})
        opening = span.start.opening
        # a chain that the start's config had no more is named by what is reserved there, the gas first
        natives = {one.venue: one.hold[0][0] for one in opening.cycles or ()}
        natives |= {venue: one["own"]["native"] for venue, one in config.items()}
        self._receipts = Receipts(span.start.number, natives, self._decimals)
        self._later: list[SlowRow] = []
        self._unheard: list[News] = []  # what the start's engine did not apply to a bundle or a strategy
        if span.start.mode != LIVE or opening.cycles is None:  # none: of an older version, which followed none of them
            return
        for number, carried in enumerate(opening.cycles, start=1):
            self._take_up(-number, carried)
        numbers = {name: number for number, name in self._names.items()}
        self._receipts.take_up(opening.transactions or (), numbers)
        wishes = [row for _, row in reader.outputs(kinds=("cycles",), select=span.selection)]
        swaps = self._swaps(reader, [row["bundle"] for row in wishes if row["token_out"] is not None])
        for row in wishes:
            if row["kind"] == "submit":
                native = natives[row["venue"]]
                self._take_up(row["order"], _wish(row, span.start.number, native, swaps.get(row["bundle"])))
        accounts = {name: one["account"] for name, one in span.start.config["strategies"].items()}
        engine = {row["client_order_id"] for row in wishes if row["kind"] != "cancel"}
        select = Selection(first_seq=opening.told_seq + 1, last_seq=until)
        for slow in merge(*(_rows(reader, kind, select) for kind in KINDS), key=attrgetter("seq")):
            if slow.seq <= opening.told_seq or slow.seq > until:
                continue
            if slow.seq > span.last:
                self._later.append(slow)
                continue
            for news, one in self._hear(slow):
                is_charged = accounts.get(news.strategy) != news.account  # then the ledger has it as the account's
                is_followed = one is None or one.plain.client_order_id in engine
                if is_charged or not is_followed:
                    self._unheard.append(news if is_charged else news._replace(changes={}))

    def _swaps(self, reader: LogReader, bundles: Sequence[int]) -> dict[int, _Swap]:
        """What paths were planned as, by the number of their bundle in the start."""
        markets = {(one.venue, one.symbol): one for one in reader.instruments}
        found = {}
        for row in rows_of(reader, "bundles", np.array(bundles, np.int64), self._span.selection):
            if row["event"] == "opened":
                planned = msgspec.json.decode(row["plan"], type=Planned)
                leg = planned.legs[0]
                assert planned.swap is not None, "a path is a bundle's swap"
                found[row["bundle"]] = _Swap(planned.swap, markets[leg.venue, leg.symbol].base)
        return found

    def _take_up(self, number: int, plain: CarriedCycle) -> None:
        self._sent[number], self._names[number] = _Sent(plain), (plain.start, plain.order)

    def _decimals(self, venue: str, token: str) -> int | None:
        mine = (one.plain.decimals for one in self._sent.values() if one.plain.venue == venue and token in one.plain.decimals)
        return next((decimals[token] for decimals in mine), None)

    # --- what it says

    @property
    def bundles(self) -> list[Name]:
        """Bundles of paths that are not final: a receipt may change them yet, whatever became of them."""
        return [(one.plain.start, one.plain.bundle) for one in self._lasting() if one.plain.path is not None]

    @property
    def cycles(self) -> tuple[CarriedCycle, ...]:
        """Those that are not final, in the order in which they were decided on; what never left is refused."""
        asked = {order for _, _, order in self._receipts.mine.values()}
        never = [one for number, one in self._sent.items() if one.state == "pending" and number not in asked]
        found = [
            msgspec.structs.replace(one.plain, state="refused" if one in never else one.state, tx_hash=one.tx_hash)
            for one in self._lasting()
        ]
        return tuple(sorted(found, key=lambda one: (one.start, one.order)))

    @property
    def transactions(self) -> tuple[CarriedTransaction, ...]:
        """Those that are not final, in the order in which they were made."""
        found = []
        for tx_hash, (account, strategy, order) in self._receipts.mine.items():
            start, there = (None, None) if order is None else self._names[order]
            booked = self._receipts.booked.get(tx_hash)
            block_hash, posts = ("", ()) if booked is None else (booked.block_hash, booked.posts)
            found.append(
                CarriedTransaction(
                    tx_hash=tx_hash,
                    account=account,
                    strategy=strategy,
                    start=start,
                    order=there,
                    block_hash=block_hash,
                    posts=posts,
                )
            )
        return tuple(found)

    def _lasting(self) -> Iterator[_Sent]:
        return (one for one in self._sent.values() if one.state not in ("refused", "final"))

    # --- what becomes of it

    def go_on(self) -> None:
        """Tell what the start's engine did not follow, and what lies behind the last input that it applied."""
        for news in self._unheard:
            self._tell(news)
        for row in self._later:
            self.take(row)
        self._unheard, self._later = [], []

    def take(self, row: SlowRow) -> None:
        """A row of `transactions` or `receipts` that lies behind all that was read.

        Raises:
            LogError: a receipt does not say what it must.
        """
        for news, _ in self._hear(row):
            self._tell(news)

    def _hear(self, row: SlowRow) -> list[tuple[News, _Sent | None]]:
        """What a row comes to, from now on known."""
        report = self._receipts.read(row)
        if report is None:
            return []
        one = None if report.order is None else self._sent.get(report.order)
        changes = self._receipts.take(report, None if one is None else one.path)
        found = []
        for event, change in follow(one, report, changes):
            if one is not None and event is not None:
                one.state = advance(CYCLE_LIFE, one.state, event)
            found.append((_news((report.account, report.strategy), one, change), one))
        return found


def _rows(reader: LogReader, kind: str, select: Selection) -> Iterator[SlowRow]:
    return (SlowRow(row["seq"], row["ts_recv"], kind, row) for row in reader.rows(kind, select=select))


def _news(owner: tuple[str, str], one: _Sent | None, change: Change | None) -> News:
    """What a cycle's new state, and what is booked or taken back, change."""
    posts = () if change is None else [(asset, change.sign * amount, cause) for _, asset, amount, cause in change.booked.posts]
    sums: dict[str, int] = {}
    for asset, amount, _ in posts:
        sums[asset] = sums.get(asset, 0) + amount
    is_path = one is not None and one.path is not None
    return News(
        *owner,
        changes=sums,
        bundle=(one.plain.start, one.plain.bundle) if one is not None and is_path else None,
        swapped={asset: amount for asset, amount, cause in posts if cause == SWAP} if is_path else {},
        gas={asset: amount for asset, amount, cause in posts if cause == GAS} if is_path else {},
        is_open=one is not None and one.state in CYCLE_OPEN,
    )


def _wish(row: Mapping[str, Any], start: int, native: str, swap: _Swap | None) -> CarriedCycle:
    """A cycle or a path as it was decided on."""
    amount, gas = int(row["amount"]), (native, row["gas_limit"] * int(row["ceiling_wei"]))
    path: CarriedPath | None = None
    if swap is None:
        hold: tuple[tuple[str, int], ...] = (gas,)
        decimals = {row["token"]: _decimals_of(amount, row["notional"])}
    else:
        gives_base = swap.planned.coins[row["token_out"]] == swap.base
        base, quote = parse_money(swap.planned.base), parse_money(swap.planned.quote)
        paid, got = (quote, base) if gives_base else (base, quote)
        hold = (gas, (row["token"], paid))
        decimals = {row["token"]: _decimals_of(amount, paid), row["token_out"]: _decimals_of(int(row["expected_out"]), got)}
        path = CarriedPath(token_in=row["token"], token_out=row["token_out"], gives_base=gives_base)
    return CarriedCycle(
        start=start,
        order=row["order"],
        bundle=row["bundle"],
        client_order_id=row["client_order_id"],
        account=row["account"],
        strategy=row["strategy"],
        venue=row["venue"],
        state="pending",
        tx_hash="",
        deadline_s=row["deadline_s"],
        hold=hold,
        pools=tuple(hop.split()[1] for hop in row["hops"].split(", ")),
        decimals=decimals,
        path=path,
    )


def _decimals_of(units: int, money: int) -> int:
    """Decimals of a token of which so many smallest units are so much money: the one is the other times a power of ten."""
    return MONEY_SCALE - (len(str(money // units)) - 1)
