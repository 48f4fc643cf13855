"""A second, naive reckoning of the limits: through the log in its order, by what the exchanges did, over all starts.

Whatever begins must have been allowed, and what was refused for a limit must have been beyond it: no verdict comes late or early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from xarb.config.strategies import StrategyConfig
from xarb.engine.results import DAY_NS
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S
from xarb.settings import money_of
from xarb.simulation.exchange import Made
from xarb.simulation.log import Found
from xarb.simulation.trader import Site
from xarb.simulation.worst import worst_of

_QUOTE: Final = "USDT"
_BASE: Final = "BTC"
_ENDS: Final = ("canceled", "expired", "rejected", "not_sent")
_DAILY: Final = {"daily_volume": "daily_volume_quote", "daily_symbol": "daily_symbol_quote", "daily_venue": "daily_venue_quote"}
_OPEN: Final = {"symbol_open": "max_symbol_open_quote", "venue_open": "max_venue_open_quote"}
Say = Callable[[str, str], None]


class Sent(msgspec.Struct):
    """An order as it was decided on: whose, where, its bundle, leg and purpose, price and quantity as money, when, and what of it is told."""

    strategy: str
    start: int
    venue: str
    bundle: int
    leg: int
    purpose: str
    price: int
    qty: int
    ts: int
    filled: int = 0
    has_end: bool = False
    ended_seq: int = 0  # of the report that was its end

    @property
    def left(self) -> int:
        """Notional that may still fill as far as anybody was told."""
        return 0 if self.has_end else self.price * max(0, self.qty - self.filled) // MONEY_ONE


class Ended(NamedTuple):
    """A result at the end of a bundle: the UTC day, what was made by then, and behind which input."""

    day: int
    pnl: int
    seq: int


class Book:
    """What one strategy did over all starts."""

    def __init__(self, config: StrategyConfig) -> None:
        self.config = config
        self.sent: dict[tuple[int, str], int] = {}  # by day and scope: "", "symbol" or a venue
        self.begun: dict[int, int] = {}  # bundles by day
        self.ended: list[Ended] = []
        self.flows: dict[str, int] = {}
        self.bundles: set[tuple[int, int]] = set()  # start and bundle
        self.middles: dict[tuple[int, int], int | None] = {}  # by bundle, four times the median when it began
        self.was_beyond = False  # whether the result before the last lay beyond a limit

    def bound(self, key: str) -> int | None:
        """A limit of the config as money, None where there is none."""
        value: Decimal | None = getattr(self.config, key)
        return None if value is None else money_of(value)

    @property
    def leg(self) -> int:
        """The most that a leg may be worth."""
        most = self.config.max_notional_quote
        assert most is not None, "every strategy of a world has it"
        return money_of(most)

    def day_base(self, day: int) -> int:
        """The last result of an earlier day."""
        return next((one.pnl for one in reversed(self.ended) if one.day != day), 0)

    @property
    def peak(self) -> int:
        """The highest result."""
        return max((0, *(one.pnl for one in self.ended)))


class Audit:
    """Goes through a log once.

    Args:
        site: whose strategies are judged, by the truth of whose exchanges.
        say: is told of what is broken, by oracle.
    """

    def __init__(self, site: Site, say: Say) -> None:
        self._say = say
        self._books = {name: Book(config) for name, config in site.resolved.strategies.items()}
        self._made: dict[str, Made] = {made.said.fill_id: made for exchange in site.exchanges for made in exchange.fills}
        self._max_age = None if site.max_send_lag_ms is None else site.max_send_lag_ms * NANOS_PER_MS
        self._orders: dict[str, Sent] = {}  # by client id
        self._told: dict[str, int] = {}  # seq of the first report of a fill
        self._quotes: dict[str, tuple[int, int]] = {}  # by venue, as money, of the start that is at work
        self._tradable: set[str] = set()
        self._halted: set[str] = set()  # venues where nothing is traded
        self._start = 0
        self._unpriced_until = -1  # seq up to which there was a time without any price
        self._lost: str | None = None  # what killed trading in the start that is at work
        self._last_ts = 0  # of the last input
        self._feeds_moved = False  # since then
        self._unseen: tuple[int, str] | None = None  # from an input on: a loss of what is open that nobody saw at the whole second

    def go(self, found: Found, *, is_over: bool) -> None:
        """Judge all of it; `is_over`: every bundle of the last start had its end."""
        rows: list[tuple[int, int, str, dict[str, Any]]] = []
        for kind, values in found.items():
            for row in values:
                rows.append((row["seq"], -1, kind, row) if "seq" in row else (row["after_seq"], row["n"], kind, row))
        rows.sort(key=lambda one: one[:2])
        steps = {
            "starts": self._begin,
            "instruments": self._instrument,
            "quotes": self._quote,
            "feed_states": self._feed,
            "reports": self._report,
            "commands": self._command,
            "refusals": self._refused,
            "results": self._result,
            "bundles": self._bundle,
        }
        for seq, n, kind, row in rows:
            if n < 0:
                self._beat(seq, row["ts_recv"])
            elif self._unseen is not None and seq >= self._unseen[0]:
                self._say("loss", self._unseen[1])
                self._unseen = None
            if kind in steps:
                steps[kind](row)
            if n < 0:
                self._last_ts, self._feeds_moved = row["ts_recv"], False
        if is_over:
            for name, book in self._books.items():
                self._has_results(name, book)

    # --- what happens

    def _begin(self, row: dict[str, Any]) -> None:
        """A start knows what was told before it was opened."""
        self._start, told_seq = row["number"], msgspec.json.decode(row["opening"])["told_seq"]
        self._quotes, self._tradable, self._lost, self._unseen = {}, set(), None, None
        for book in self._books.values():
            book.flows = {}
        for fill_id, seq in self._told.items():
            if seq <= told_seq:
                self._add(fill_id)

    def _add(self, fill_id: str) -> None:
        made = self._made.get(fill_id)
        order = None if made is None else self._orders.get(made.order.client_id)
        if made is not None and order is not None:
            flows = self._books[order.strategy].flows
            for asset, change in made.changes.items():
                flows[asset] = flows.get(asset, 0) + change

    def _quote(self, row: dict[str, Any]) -> None:
        """A sound quote is the present one; a crossed one changes nothing."""
        bid, ask = row["bid_int"], row["ask_int"]
        if bid < ask:
            unit = 10 ** (MONEY_SCALE - row["px_scale"])
            self._quotes[row["venue"]] = bid * unit, ask * unit

    def _instrument(self, row: dict[str, Any]) -> None:
        self._feeds_moved = True
        if not self._pricing:
            self._unpriced_until = row["seq"]
        (self._halted.discard if row["active"] else self._halted.add)(row["venue"])

    @property
    def _pricing(self) -> set[str]:
        """Venues whose quotes price something."""
        return self._tradable - self._halted

    def _feed(self, row: dict[str, Any]) -> None:
        self._feeds_moved = True
        if not self._pricing:
            self._unpriced_until = row["after_seq"]
        (self._tradable.add if row["tradable"] else self._tradable.discard)(row["venue"])

    def _report(self, row: dict[str, Any]) -> None:
        order = self._orders.get(row["client_order_id"])
        if row["event"] == "fill":
            if row["fill_id"] in self._told:
                return
            self._told[row["fill_id"]] = row["seq"]
            if order is not None:
                order.filled += row["qty"]
                if order.filled >= order.qty and not order.has_end:
                    order.has_end, order.ended_seq = True, row["seq"]
                self._add(row["fill_id"])  # of an earlier start's order as well: its bundle goes on
        elif order is not None and row["event"] in _ENDS:
            order.has_end, order.ended_seq = True, order.ended_seq or row["seq"]
            if row["reason"] == "too_old" and (self._max_age is None or row["ts_recv"] - order.ts <= self._max_age):
                self._say(
                    "max_send_lag", f"{row['client_order_id']} is too old {row['ts_recv'] - order.ts} ns after it was decided on"
                )

    def _command(self, row: dict[str, Any]) -> None:
        if row["kind"] != "submit":
            return
        name, book = row["strategy"], self._books[row["strategy"]]
        order = Sent(
            name,
            self._start,
            row["venue"],
            row["bundle"],
            row["leg"],
            row["purpose"],
            row["price_int"] * 10 ** (MONEY_SCALE - row["px_scale"]),
            row["qty_int"] * 10 ** (MONEY_SCALE - row["qty_scale"]),
            row["ts"],
        )
        self._orders[row["client_order_id"]] = order
        day = row["ts"] // DAY_NS
        for scope in ("", "symbol", order.venue):
            book.sent[day, scope] = book.sent.get((day, scope), 0) + order.left
        if order.purpose != "open":
            return
        key = (self._start, order.bundle)
        is_piece = book.config.sequence == "hard_leg_first" and order.leg > 0
        if key not in book.bundles:
            book.bundles.add(key)
            book.begun[day] = book.begun.get(day, 0) + 1
            book.middles[key] = self._middle()
            self._may_lose(book, order, day)
            if self._lost is not None:
                self._say("loss", f"bundle {order.bundle} of {order.strategy} begins although {self._lost}")
        self._in_band(book, order)
        self._open(book, order, is_piece=is_piece)
        if not is_piece:
            self._within_the_day(book, order, day)

    # --- notional

    def _within_the_day(self, book: Book, order: Sent, day: int) -> None:
        for (oracle, key), scope in zip(_DAILY.items(), ("", "symbol", order.venue), strict=True):
            bound, sent = book.bound(key), book.sent[day, scope]
            if bound is not None and sent > bound:
                self._say(oracle, f"{order.strategy} sent {sent / MONEY_ONE} on day {day}, of {bound / MONEY_ONE} that are allowed")

    def _working(self, strategy: str, venue: str | None, *, opening: bool) -> int:
        """What of a strategy may still fill, at a venue or at all; with `opening` no order that flattens counts."""
        return sum(
            one.left
            for one in self._orders.values()
            if (one.strategy, one.start) == (strategy, self._start)
            and (venue is None or one.venue == venue)
            and (not opening or one.purpose == "open")
        )

    def _open(self, book: Book, order: Sent, *, is_piece: bool) -> None:
        """A piece of a leg was counted when its bundle began: what flattens others since then does not matter to it."""
        for (oracle, key), venue in zip(_OPEN.items(), (None, order.venue), strict=True):
            bound = book.bound(key)
            if bound is not None and (open_ := self._working(order.strategy, venue, opening=is_piece)) > bound:
                self._say(oracle, f"{order.strategy} has {open_ / MONEY_ONE} open, of {bound / MONEY_ONE} that are allowed")

    # --- prices

    def _middle(self) -> int | None:
        """Four times the median of the tradable venues' middles, None of fewer than two."""
        sums = sorted(sum(quote) for venue, quote in self._quotes.items() if venue in self._pricing)
        if len(sums) < 2:
            return None
        half = len(sums) // 2
        return 2 * sums[half] if len(sums) % 2 else sums[half - 1] + sums[half]

    def _in_band(self, book: Book, order: Sent) -> None:
        band = book.config.price_band_bps
        if not band:
            return
        middle = book.middles[self._start, order.bundle]
        if middle is None:
            self._say("price_band", f"bundle {order.bundle} begins while fewer than two venues tell prices")
        elif abs(4 * order.price - middle) * 10_000 > middle * band:
            self._say("price_band", f"{order.strategy} sends at {order.price / MONEY_ONE}, the median is {middle / 4 / MONEY_ONE}")

    def _worth(self, flows: Mapping[str, int]) -> int | None:
        """What was made, in the quote currency: what is held at the lowest bid, what is owed at the highest ask."""
        base, quote = flows.get(_BASE, 0), flows.get(_QUOTE, 0)
        if base == 0:
            return quote
        known = [self._quotes[venue] for venue in self._pricing if venue in self._quotes]
        if not known:
            return None
        price = min(bid for bid, _ in known) if base > 0 else max(ask for _, ask in known)
        return quote + base * price // MONEY_ONE

    # --- losses

    def _lost_by(self, book: Book, ts: int, rule: str) -> int | None:
        """What was lost by a rule until now, None where nobody knows."""
        pnl = self._worth(book.flows)
        if pnl is None:
            return None
        return (book.day_base(ts // DAY_NS) if rule == "day_loss" else book.peak) - pnl

    @staticmethod
    def _most(book: Book, rule: str) -> int | None:
        most = (book.config.max_day_loss if rule == "day_loss" else book.config.max_drawdown).get(_QUOTE)
        return None if most is None else money_of(most)

    def _may_lose(self, book: Book, order: Sent, day: int) -> None:
        for rule in ("day_loss", "drawdown"):
            most = self._most(book, rule)
            if most is None:
                continue
            lost = self._lost_by(book, day * DAY_NS, rule)
            if lost is None or lost > most:
                told = "nobody knows what" if lost is None else f"{lost / MONEY_ONE}"
                self._say(rule, f"bundle {order.bundle} of {order.strategy} begins, {told} is lost, {most / MONEY_ONE} may be")

    def _result(self, row: dict[str, Any]) -> None:
        """A bundle ended: the row says what was made since the day began, and the highest so far."""
        book, day = self._books[row["strategy"]], row["ts"] // DAY_NS
        pnl = self._worth(book.flows)
        if pnl is None:
            self._say("results", f"a result of {row['pnl'] / MONEY_ONE} while nothing has a price")
            return
        base = book.day_base(day)
        book.ended.append(Ended(day, pnl, row["after_seq"]))
        self._kills(book, row["strategy"], day)
        if (row["pnl"], row["day_pnl"], row["peak"]) != (pnl, pnl - base, book.peak):
            told = [row[key] / MONEY_ONE for key in ("pnl", "day_pnl", "peak")]
            self._say(
                "results", f"{row['strategy']} made {told}, truly {[one / MONEY_ONE for one in (pnl, pnl - base, book.peak)]}"
            )

    def _kills(self, book: Book, name: str, day: int) -> None:
        """A result crosses a limit: where that kills, no strategy begins anything in this start any more."""
        pnl = book.ended[-1].pnl
        told = [rule for rule in ("day_loss", "drawdown") if self._is_beyond(book, rule, day, pnl)]
        if told and not book.was_beyond and book.config.on_loss == "kill":
            self._lost = self._lost or f"{name} broke its {told[0]}"
        book.was_beyond = bool(told)

    def _bundle(self, row: dict[str, Any]) -> None:
        """A bundle begins: at worst it loses no more than it may."""
        book = self._books[row["strategy"]]
        most = _bundle_bound(book)
        if row["event"] != "opened" or most is None:
            return
        worst = worst_of(msgspec.json.decode(row["plan"])["legs"], book.config, self._worth)
        if worst is None or worst > most:
            told = "nobody knows what" if worst is None else f"{worst / MONEY_ONE}"
            self._say(
                "bundle_loss",
                f"bundle {row['bundle']} of {row['strategy']} begins, {told} may be lost, {most / MONEY_ONE} are allowed",
            )

    def _beat(self, seq: int, ts: int) -> None:
        """Before an input a whole second passed: what was lost by then, open positions as they stood, has killed if it was to.

        An engine that lives says something later on: what came behind its end accuses nobody.
        """
        second = (ts - 1) // NANOS_PER_S * NANOS_PER_S
        if second <= self._last_ts or self._feeds_moved or self._lost is not None or self._unseen is not None:
            return
        for name, book in self._books.items():
            pnl = self._worth(book.flows)
            if pnl is None or book.was_beyond or book.config.on_loss != "kill":
                continue
            told = [rule for rule in ("day_loss", "drawdown") if self._is_beyond(book, rule, second // DAY_NS, pnl)]
            if told:
                self._unseen = seq, f"{name} was beyond its {told[0]} at {second}, and nobody saw it"

    def _is_beyond(self, book: Book, rule: str, day: int, pnl: int) -> bool:
        most = self._most(book, rule)
        return most is not None and (book.day_base(day) if rule == "day_loss" else book.peak) - pnl > most

    def _has_results(self, name: str, book: Book) -> None:
        """Behind the last order of each bundle there is a result, unless there was no price then."""
        if self._most(book, "day_loss") is None and self._most(book, "drawdown") is None:
            return
        last = book.ended[-1].seq if book.ended else -1
        for order in self._orders.values():
            is_mine = (order.strategy, order.start) == (name, self._start)
            if is_mine and self._pricing and last < order.ended_seq > self._unpriced_until:
                self._say("results", f"no result of {name} follows the end of an order of bundle {order.bundle}")

    # --- refusals

    def _refused(self, row: dict[str, Any]) -> None:
        """What was refused for a limit was beyond it."""
        if not row["strategy"]:
            return  # a difference from an exchange's balance, which is nobody's
        book, reason = self._books[row["strategy"]], row["reason"]
        if reason in ("day_loss", "drawdown"):
            most, lost = self._most(book, reason), self._lost_by(book, row["ts"], reason)
            if (row["value"], row["bound"]) != (lost, most) or most is None or lost is None or lost <= most:
                self._say(reason, f"{row['strategy']} is refused at {row['value']} of {row['bound']}, truly at {lost} of {most}")
        elif reason == "loss" and row["value"] is not None:
            true = [(self._lost_by(book, row["ts"], rule), self._most(book, rule)) for rule in ("day_loss", "drawdown")]
            is_true = (row["value"], row["bound"]) in true or row["bound"] == _bundle_bound(book)
            if not is_true or row["value"] <= row["bound"] or book.config.on_loss != "kill":
                self._say("loss", f"{row['strategy']} kills at {row['value']} of {row['bound']}, truly at {true}")
            self._lost = self._lost or f"{row['strategy']} lost too much"
        elif reason in ("bundle_loss", "bundle_lost") and not row["bound"] == _bundle_bound(book) < row["value"]:
            self._say("bundle_loss", f"{row['strategy']} is refused at {row['value']} of {row['bound']}, within its limit")
        elif reason == "loss" and self._lost is None:
            self._say("loss", f"{row['strategy']} is refused for a loss that nobody told")
        elif reason == "loss_unknown" and self._worth(book.flows) is not None:
            self._say("day_loss", f"{row['strategy']} is refused for an unknown loss, which is known")
        elif reason in _DAILY:
            begun = book.begun.get(row["ts"] // DAY_NS, 0)
            self._refused_for(row, _DAILY[reason], self._sent(book, row), self._unsent(book, begun))
        elif reason in _OPEN:
            venue = row["venue"] if reason == "venue_open" else None
            begun = sum(start == self._start for start, _ in book.bundles)  # a leg that waits is open over midnight as well
            self._refused_for(row, _OPEN[reason], self._working(row["strategy"], venue, opening=False), self._unsent(book, begun))
        elif reason == "price_band":
            middle, band = self._middle(), book.config.price_band_bps
            if middle is None or abs(4 * row["value"] - middle) * 10_000 <= middle * band:
                self._say("price_band", f"{row['strategy']} is refused at {row['value'] / MONEY_ONE}, the median is {middle} / 4")
        elif reason == "price_band_unknown" and self._middle() is not None:
            self._say("price_band", f"{row['strategy']} is refused for an unknown median, which is known")

    @staticmethod
    def _sent(book: Book, row: dict[str, Any]) -> int:
        scope = {"daily_volume": "", "daily_symbol": "symbol"}.get(row["reason"], row["venue"])
        return book.sent.get((row["ts"] // DAY_NS, scope), 0)

    @staticmethod
    def _unsent(book: Book, begun: int) -> int:
        """The most that counts and was not sent: the bundle that is refused, and of each that began with a hard leg the other."""
        waiting = begun if book.config.sequence == "hard_leg_first" else 0
        return (2 + waiting) * book.leg

    def _refused_for(self, row: dict[str, Any], key: str, known: int, unknown: int) -> None:
        bound = self._books[row["strategy"]].bound(key)
        is_due = bound is not None and row["bound"] == bound < row["value"]
        if not is_due or not known <= row["value"] <= known + unknown:
            truth = f"truly at {known / MONEY_ONE} and what was planned"
            self._say(row["reason"], f"{row['strategy']} is refused at {row['value']} of {row['bound']}, {truth}")


def _bundle_bound(book: Book) -> int | None:
    """What one bundle may lose, as money."""
    most = book.config.max_bundle_loss.get(_QUOTE)
    return None if most is None else money_of(most)
