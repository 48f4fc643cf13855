"""The simulated venue once more: plain Python over dicts and fractions, slow, and meant to be obviously right.

It is handed all rows and commands at once, sorts them by venue time and walks through them. It shares nothing with the real one but
the terms (latencies, fees, instruments) and the generator of draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from tests.venues.market import Row
from xarb.model.command import Command, SubmitOrder
from xarb.model.units import MONEY_ONE, PPB
from xarb.venues.fold import draw
from xarb.venues.terms import Latency, VenueModel, VenueSetup

Key = tuple[int, int, tuple[Any, ...]]


class Said(NamedTuple):
    """One report: due time, command number, place among the order's reports, what it says."""

    due: int
    ordinal: int
    place: int
    order: int
    event: str
    price: int | None
    qty: int | None
    fee: int | None
    fee_asset: str | None
    liquidity: str | None
    reason: str | None


class Level:
    """Own consumption at one level."""

    def __init__(self, shown: int) -> None:
        self.left, self.shown, self.traded = 0, shown, 0


class Book:
    """One instrument's book: price to size (None: unknown) a side, 0 bids, 1 asks, and what we took."""

    def __init__(self) -> None:
        self.sides: list[dict[int, int | None]] = [{}, {}]
        self.taken: list[dict[int, Level]] = [{}, {}]
        self.synced = self.in_snapshot = False
        self.resting: list[Open] = []

    def ordered(self, side: int) -> list[int]:
        """Prices of a side, best first."""
        return sorted(self.sides[side], reverse=side == 0)

    def shown(self, side: int, price: int, assumed: int | None) -> int | None:
        """Size of a level, None where nobody knows."""
        levels = self.ordered(side)
        if price in self.sides[side]:
            size = self.sides[side][price]
            return assumed if size is None else size
        if levels and (levels[-1] < price if side == 0 else levels[-1] > price):
            return 0
        return None

    def review(self, assumed: int | None) -> None:
        """Apply the rules of refill and vanishing."""
        for side in (0, 1):
            for price, level in list(self.taken[side].items()):
                size = self.shown(side, price, assumed)
                if size is None:
                    continue
                refilled = min(max(0, size - level.shown), level.traded)
                level.traded -= refilled
                level.left = min(level.left - refilled, size)
                level.shown = size
                if level.left <= 0:
                    del self.taken[side][price]


class Open:
    """An order at the venue."""

    def __init__(self, command: SubmitOrder, ordinal: int, response: int) -> None:
        self.command, self.ordinal, self.response = command, ordinal, response
        self.buy = command.side == "buy"
        self.price, self.rest = command.price_int, command.qty_int
        self.ahead: int | None = None
        self.owed = self.due = self.count = 0
        self.held: dict[str, int] = {}
        self.state = "open"


class NaiveVenue:
    """One venue; `run` gives every report that it will ever send."""

    def __init__(self, setup: VenueSetup, model: VenueModel, venue: str) -> None:
        self.setup, self.model, self.venue = setup, model, venue
        self.mine = {n for n, i in enumerate(setup.instruments) if i.venue == venue}
        self.books = {n: Book() for n in sorted(self.mine)}
        self.free = {(a, asset): int(v) for (a, at, asset), v in setup.opening.items() if at == venue}
        self.orders: dict[int, Open] = {}
        self.said: list[Said] = []

    def draw(self, latency: Latency, stream: int, counter: int) -> int:
        """A latency."""
        return latency.pick(draw.splitmix64(draw.stream_seed(self.setup.seed, stream), counter))

    def run(self, rows: Sequence[Row], commands: Sequence[tuple[int, Command]]) -> list[Said]:
        """`commands` are (command number, command with its decision time)."""
        agenda: list[tuple[int, int, int, Any]] = []
        time, lags = -(2**62), dict[int, int]()  # lags: of the delta messages that are not complete
        for seq, row in enumerate(rows):
            if row.inst not in self.mine:
                continue
            lag = self.draw(self.model.feed_latency, draw.STREAM_FEED, seq)
            if row.kind == "delta":
                lag = lags.pop(row.inst, lag)
                if not row.values[4]:
                    lags[row.inst] = lag
            time = max(time, row.ts - lag)
            agenda.append((time, 0, seq, row))
            if row.kind == "connection" and row.values[0] in ("gap", "lost", "closed"):
                for number in self.books:
                    if row.values[1] or number == row.inst:
                        lags.pop(number, None)
        arrivals: dict[int, int] = {}
        for ordinal, command in commands:
            if command.instrument not in self.mine:
                continue
            sends = isinstance(command, SubmitOrder)
            arrival = command.ts + self.draw(
                self.model.order_latency, draw.STREAM_ORDER if sends else draw.STREAM_CANCEL, command.order
            )
            arrival = max(arrival, arrivals.get(command.order, arrival))
            arrivals.setdefault(command.order, arrival)
            agenda.append((arrival, 1, ordinal, command))
        for when, kind, number, item in sorted(agenda, key=lambda entry: entry[:3]):
            if kind == 0:
                self.row(item, when)
            else:
                stream = draw.STREAM_RESPONSE if isinstance(item, SubmitOrder) else draw.STREAM_CANCEL_RESPONSE
                response = self.draw(self.model.response_latency, stream, item.order)
                self.command(item, when, number, max(response, self.model.feed_latency.high_ns))
        return sorted(self.said)

    # --- rows

    def row(self, row: Row, now: int) -> None:
        """Apply one row."""
        book, values = self.books[row.inst], row.values
        source = self.setup.sources[row.inst]
        assumed = self.assumed
        if row.kind == "trade":
            self.trade(book, now, values)
            return
        if row.kind == "connection":
            for number, other in self.books.items():
                if values[0] in ("gap", "lost", "closed") and (values[1] or number == row.inst):
                    other.sides, other.synced, other.in_snapshot = [{}, {}], False, False
            return
        if row.kind == "quote" and source == 0:
            bid, bid_qty, ask, ask_qty = values
            book.sides = [{bid: bid_qty} if bid is not None and bid_qty != 0 else {}, {}]
            book.sides[1] = {ask: ask_qty} if ask is not None and ask_qty != 0 else {}
        elif row.kind == "book" and source == 1:
            book.sides = [{p: q for p, q in values[0] if q != 0}, {p: q for p, q in values[1] if q != 0}]
        elif row.kind == "delta" and source == 2:
            side, price, qty, snapshot, last, verdict = values
            if verdict != 0:
                return
            if snapshot and not book.in_snapshot:
                book.sides, book.synced, book.in_snapshot = [{}, {}], True, True
            if book.synced and price is not None:
                book.sides[side].pop(price, None)
                if qty:
                    book.sides[side][price] = qty
            if not last:
                return
            book.in_snapshot = False
        else:
            return
        book.review(assumed)
        for order in self.by_priority(book):
            fills = self.take(order, commit=True)
            total = sum(qty for _, qty in fills)
            if total:
                self.fill(order, now, order.price, total, maker=True)
            if order.rest:
                self.see(book, order)

    def trade(self, book: Book, now: int, values: tuple[Any, ...]) -> None:
        """A public trade."""
        price, size, aggressor = values
        if aggressor < 2:
            level = book.taken[1 - aggressor].get(price)
            if level is not None:
                level.traded += size
        for order in self.by_priority(book):
            if price < order.price if order.buy else price > order.price:
                qty = min(order.rest, size)
            elif price == order.price and aggressor == (1 if order.buy else 0) and order.ahead is not None:
                volume = size - min(order.owed, size)
                order.owed -= size - volume
                qty = min(order.rest, max(0, volume - order.ahead))
                order.ahead = max(0, order.ahead - volume)
            else:
                continue
            if qty:
                size -= qty
                self.fill(order, now, order.price, qty, maker=True)

    def by_priority(self, book: Book) -> list[Open]:
        """Resting orders, best price first, then arrival."""
        return sorted(book.resting, key=lambda order: (-order.price if order.buy else order.price, order.ordinal))

    def see(self, book: Book, order: Open) -> None:
        """An order looks at its own level."""
        shown = book.shown(0 if order.buy else 1, order.price, self.assumed)
        if shown is not None:
            if order.ahead is not None and shown < order.ahead:
                order.owed += order.ahead - shown
            order.ahead = shown if order.ahead is None else min(order.ahead, shown)

    # --- commands

    @property
    def assumed(self) -> int | None:
        """Quantity taken for unknown sizes."""
        return None if self.model.assumed_qty is None else self.model.assumed_qty // MONEY_ONE

    def command(self, command: Command, now: int, ordinal: int, response: int) -> None:
        """A command arrives."""
        if not isinstance(command, SubmitOrder):
            order = self.orders[command.order]
            order.response, order.ordinal = response, ordinal
            if order.state != "open":
                self.say(order, now, "canceled", reason=f"order_{order.state}")
            else:
                self.books[command.instrument].resting.remove(order)
                self.release(order)
                order.state = "canceled"
                self.say(order, now, "canceled")
            return
        order = self.orders[command.order] = Open(command, ordinal, response)
        book = self.books[command.instrument]
        reason = self.refusal(order, book)
        if reason:
            order.state = "rejected"
            self.say(order, now, "rejected", reason=reason)
            return
        total = sum(qty for _, qty in self.take(order, commit=False))
        blind = self.blind
        if command.tif != "gtc" and self.model.fill_shares:
            shares = self.model.fill_shares
            share = shares[draw.splitmix64(draw.stream_seed(self.setup.seed, draw.STREAM_SHARE), command.order) % len(shares)]
            got = int(total * Fraction(share, PPB))
        else:
            got = total
        if command.tif == "fok" and got < order.rest:
            order.state = "expired"
            self.say(order, now, "expired", reason="size_unknown" if blind else "fok_unfillable")
            return
        fills = self.take(order, commit=True, most=got)
        blind = blind and got == total
        rests = command.tif == "gtc" and total < order.rest
        if rests:
            self.say(order, now, "accepted")
        for price, qty in fills:
            self.fill(order, now, price, qty, maker=False)
        if rests:
            book.resting.append(order)
            self.see(book, order)
            self.hold(order)
        elif order.rest:
            order.state = "expired"
            self.say(order, now, "expired", reason="size_unknown" if blind else "no_liquidity")
        else:
            order.state = "filled"

    def refusal(self, order: Open, book: Book) -> str | None:
        """Why the order is refused, or None."""
        command = order.command
        best = [book.ordered(side)[:1] for side in (0, 1)]
        other = best[1 if order.buy else 0]
        if command.post_only and other and (other[0] <= order.price if order.buy else other[0] >= order.price):
            return "post_only_would_cross"
        for mine in book.resting:
            if mine.buy != order.buy and (mine.price <= order.price if order.buy else mine.price >= order.price):
                return "self_trade"
        need = self.need(order, maker=False)
        if any(self.free.get((command.account, asset), 0) < amount for asset, amount in need.items()):
            return "balance"
        place = Fraction(draw.splitmix64(draw.stream_seed(self.setup.seed, draw.STREAM_REFUSAL), command.order) % PPB, PPB)
        for reason, ppb in self.model.refusals:
            if place < Fraction(ppb, PPB):
                return reason
            place -= Fraction(ppb, PPB)
        return None

    def take(self, order: Open, *, commit: bool, most: int | None = None) -> list[tuple[int, int]]:
        """What the order gets from the book's other side, no more than `most`."""
        book, side = self.books[order.command.instrument], 1 if order.buy else 0
        rest = order.rest if most is None else most
        fills = []
        self.blind = False
        for price in book.ordered(side):
            if rest == 0 or (price > order.price if order.buy else price < order.price):
                break
            size = book.sides[side][price]
            size = self.assumed if size is None else size
            if size is None:
                self.blind = True
                break
            taken = book.taken[side].get(price)
            qty = min(size - (taken.left if taken else 0), rest)
            if qty <= 0:
                continue
            if commit and self.model.consumption:
                level = book.taken[side].setdefault(price, Level(size))
                level.left, level.shown, level.traded = level.left + qty, size, 0
            fills.append((price, qty))
            rest -= qty
        return fills

    # --- money

    def fee(self, order: Open, price: int, qty: int, *, maker: bool) -> tuple[str, int]:
        """Coin and fee of a fill."""
        inst = self.setup.instruments[order.command.instrument]
        tier = self.setup.fees[order.command.account, order.command.instrument]
        ratio = Fraction(tier.maker_ppb if maker else tier.taker_ppb, PPB)
        coin = {"quote": inst.quote, "base": inst.base, "received": inst.base if order.buy else inst.quote}[tier.asset]
        value = qty if coin == inst.base else price * qty
        return coin, ceil(ratio * value * MONEY_ONE)

    def need(self, order: Open, *, maker: bool) -> dict[str, int]:
        """What an order must have free."""
        inst = self.setup.instruments[order.command.instrument]
        tier = self.setup.fees[order.command.account, order.command.instrument]
        high = not maker and (order.command.tif != "gtc" or tier.taker_ppb > tier.maker_ppb)
        fee_price = order.price
        bids = self.books[order.command.instrument].ordered(0)
        if not order.buy and bids and not maker:
            fee_price = max(fee_price, bids[0])
        coin, fee = self.fee(order, fee_price, order.rest, maker=not high)
        gives, amount = (inst.quote, order.price * order.rest) if order.buy else (inst.base, order.rest)
        need = {gives: amount * MONEY_ONE}
        if fee > 0 and coin == gives:
            need[gives] += fee
        return need

    def hold(self, order: Open) -> None:
        """Set money aside for a resting order."""
        order.held = self.need(order, maker=True)
        for asset, amount in order.held.items():
            self.free[order.command.account, asset] = self.free.get((order.command.account, asset), 0) - amount

    def release(self, order: Open) -> None:
        """Give it back."""
        for asset, amount in order.held.items():
            self.free[order.command.account, asset] += amount
        order.held = {}

    def fill(self, order: Open, now: int, price: int, qty: int, *, maker: bool) -> None:
        """Book and report one fill."""
        inst = self.setup.instruments[order.command.instrument]
        self.release(order)
        sign = 1 if order.buy else -1
        coin, fee = self.fee(order, price, qty, maker=maker)
        for asset, change in ((inst.base, sign * qty * MONEY_ONE), (inst.quote, -sign * price * qty * MONEY_ONE), (coin, -fee)):
            key = (order.command.account, asset)
            self.free[key] = self.free.get(key, 0) + change
        order.rest -= qty
        self.say(order, now, "fill", fill=(price, qty, fee, coin, "maker" if maker else "taker"))
        if maker and order.rest:
            self.hold(order)
        elif maker:
            order.state = "filled"
            self.books[order.command.instrument].resting.remove(order)

    def say(self, order: Open, now: int, event: str, *, fill: tuple[Any, ...] = (None,) * 5, reason: str | None = None) -> None:
        """Report."""
        order.due = max(order.due, now + order.response)
        price, qty, fee, coin, liquidity = fill
        self.said.append(
            Said(order.due, order.ordinal, order.count, order.command.order, event, price, qty, fee, coin, liquidity, reason)
        )
        order.count += 1


def naive_reports(
    setup: VenueSetup, models: Mapping[str, VenueModel], rows: Sequence[Row], commands: Sequence[Command]
) -> tuple[list[Said], dict[tuple[str, str, str], int]]:
    """All reports of all venues in order of delivery, and the balances at the end."""
    numbered = list(enumerate(commands))
    said: list[Said] = []
    balances: dict[tuple[str, str, str], int] = {}
    for name in sorted(models):
        venue = NaiveVenue(setup, models[name], name)
        said += venue.run(rows, numbered)
        for book in venue.books.values():
            for order in book.resting:
                venue.release(order)
        balances |= {(account, name, asset): value for (account, asset), value in venue.free.items()}
    return sorted(said, key=lambda one: one[:3]), balances
