"""What is known of the orders of one account at one exchange, and the `reports` rows that follow from what is heard.

Replies, the user stream, lookups and lists of trades all say the same things, late, twice or out of order. Whatever comes in, each
fill is reported once (by trade id), an order's end once, and only after all fills that the exchange counts; what the exchange says of
orders that are not ours is reported as such. No clock and no I/O here: times are handed in, monotonic, ns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from xarb.model.units import Money, format_decimal
from xarb.venues.orderids import ClientIds, OrderName
from xarb.venues.replies import OrderSaid, TradeSaid
from xarb.venues.venue import VenueRow

KEPT: Final = 10_000  # ended orders, others' orders and others' fills that are remembered, each
SAME: Final = "has a name of this start, and was not sent by it: a copy of this log trades"
ALL_THE_SAME: Final = (
    "is there although it was refused or never sent: a copy of this log trades, or the exchange contradicts itself"
)
HELD: Final = 1_000  # fills of orders whose exchange id is not known yet


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """An order that may be at the exchange: one to be sent, or one that an earlier start left behind."""

    name: OrderName
    account: str
    strategy: str
    venue: str
    symbol: str
    side: str
    qty: Money
    fill_ids: tuple[str, ...] = ()  # reported already
    filled_qty: Money = Money(0)


class Rival(NamedTuple):
    """An order that another xarb has on the account, `what` shows it, and when by the exchange's clock, ns; None: whenever that was."""

    client_id: str
    symbol: str
    what: str
    at: int | None = None


class Watched:
    """One order of ours.

    is_sent: its bytes were handed to the network. is_answered: its request came to an end, with or without a reply.
    is_placed: the exchange is known to have it. is_unknown: reported as of unknown fate since. is_done: its end was reported.
    filled, counted: by its fills, and as the exchange counts. asked_at: when it was sent or last looked up. misses: lookups in a row
    that did not find it, the first at `missed_at`. denied_at: since when everything but the balance says that it is not there, 0: not.
    doubt: what speaks against its being dead, as last told. is_never: it was refused or not sent, so that the exchange never had it.
    """

    __slots__ = (
        "asked_at",
        "counted",
        "denied_at",
        "doubt",
        "ending",
        "expected",
        "fill_ids",
        "filled",
        "is_answered",
        "is_done",
        "is_never",
        "is_placed",
        "is_sent",
        "is_unknown",
        "missed_at",
        "misses",
        "sent_id",
        "venue_order_id",
    )

    def __init__(self, expected: Expected, sent_id: str) -> None:
        self.expected = expected
        self.sent_id = sent_id
        self.venue_order_id: str | None = None
        self.fill_ids = dict.fromkeys(expected.fill_ids)
        self.filled: int = expected.filled_qty
        self.counted: int = expected.filled_qty
        self.is_answered = True  # but while its request is on its way
        self.is_sent = self.is_placed = self.is_unknown = self.is_done = self.is_never = False
        self.ending: tuple[str, OrderSaid | None] | None = None
        self.asked_at = 0
        self.misses = self.missed_at = self.denied_at = 0
        self.doubt: str | None = None

    @property
    def is_settled(self) -> bool:
        """The exchange told of it, and nothing of that waits for more."""
        return self.is_placed and not self.is_unknown and not self.lacks_fills and self.ending is None

    def found(self) -> None:
        """The exchange knows it after all."""
        self.misses = self.denied_at = 0
        self.doubt = None

    @property
    def lacks_fills(self) -> bool:
        """The exchange counts more than its fills that we know."""
        return self.filled < self.counted


class LiveOrders:
    """The orders of one account.

    Args:
        account: its label.
        venue: the venue's id.
        ids: client order ids of this log there.
        start: number of this start.
    """

    def __init__(self, account: str, venue: str, ids: ClientIds, *, start: int) -> None:
        self._start = start
        self._account = account
        self._venue = venue
        self._ids = ids
        self._open: dict[OrderName, Watched] = {}
        self._done: OrderedDict[OrderName, Watched] = OrderedDict()
        self._forgotten = 0  # the highest number of an order of this start that is remembered no longer
        self._by_venue_id: dict[tuple[str, str], Watched] = {}
        self._held: list[TradeSaid] = []
        self._foreign: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self.rivals: list[Rival] = []  # orders of another xarb, as far as they are news
        self.revived: list[Watched] = []  # orders that lived although their end was reported: to be canceled

    # --- what others ask

    def order(self, name: OrderName) -> Watched | None:
        """An order by its name; None: it is not watched (any more)."""
        return self._open.get(name) or self._done.get(name)

    def open_orders(self) -> list[Watched]:
        """Those whose end was not reported, in order of their sending."""
        return list(self._open.values())

    @property
    def symbols(self) -> list[str]:
        """Symbols of open orders, each once."""
        return list(dict.fromkeys(one.expected.symbol for one in self._open.values()))

    def is_known(self, trade: TradeSaid) -> bool:
        """Whether a fill's order is watched, or the fill was reported as another's."""
        return (trade.symbol, trade.venue_order_id) in self._by_venue_id or ("fill", trade.symbol, trade.fill_id) in self._foreign

    # --- what we do

    def expect(self, expected: Expected) -> Watched:
        """Watch an order from now on."""
        watched = self._open[expected.name] = Watched(expected, self._ids.sent(expected.name))
        return watched

    def sent(self, one: Watched, now: int) -> list[VenueRow]:
        """Its bytes were handed to the network."""
        one.asked_at, one.is_sent = now, True
        return [self._row(one, "sent", "send")]

    def not_sent(self, one: Watched, reason: str, error: str | None = None) -> list[VenueRow]:
        """Certain that the exchange never saw it."""
        one.is_never = True
        self._end(one)
        return [self._row(one, "not_sent", "send", reason=reason, error=error)]

    def refused(self, one: Watched, reason: str, error: str | None = None) -> list[VenueRow]:
        """The exchange refused it for certain; if it was heard of otherwise meanwhile, that stands."""
        one.is_never = True
        if one.is_placed or one.is_done:
            if one.filled or one.counted:
                self._is_there(one)
            return self.lost(one, reason, error)
        self._end(one)
        return [self._row(one, "rejected", "send", reason=reason, error=error)]

    def lost(self, one: Watched, reason: str, error: str | None = None, *, source: str = "send") -> list[VenueRow]:
        """Its fate is unknown; nothing is said when the exchange has told it by another way."""
        if one.is_done or one.is_placed or one.is_unknown:
            return []
        one.is_unknown = True
        return [self._row(one, "unknown", source, reason=reason, error=error)]

    def doubted(self, one: Watched, reason: str, error: str, *, source: str) -> list[VenueRow]:
        """What was known of it may be true no more, or who would have told of it is gone."""
        if one.is_done or one.is_unknown:
            return []
        one.is_unknown = True
        return [self._row(one, "unknown", source, reason=reason, error=error)]

    def absent(self, one: Watched, now: int) -> list[VenueRow]:
        """A lookup did not find it."""
        if one.is_done:
            return []
        one.asked_at = now
        one.misses += 1
        if one.misses == 1:
            one.missed_at = now
        return [self._row(one, "not_found", "lookup")]

    def never_arrived(self, one: Watched) -> list[VenueRow]:
        """It is proven that the exchange does not have it."""
        if one.is_done or one.is_placed:
            return []
        self._end(one)
        return [self._row(one, "rejected", "lookup", reason="never_arrived")]

    def cancel_sent(self, one: Watched) -> list[VenueRow]:
        """A cancel was handed to the network."""
        return [self._row(one, "cancel_sent", "cancel")]

    def cancel_failed(self, one: Watched, reason: str, error: str | None = None) -> list[VenueRow]:
        """A cancel was refused, not sent or not answered."""
        return [self._row(one, "cancel_failed", "cancel", reason=reason, error=error)]

    # --- what is heard

    def heard(self, said: OrderSaid, trades: Iterable[TradeSaid] = (), *, source: str) -> list[VenueRow]:
        """The exchange stated an order, with fills of it if it told them."""
        one = self._find(said) or self._adopt(said)
        if one is None:
            named = [msgspec.structs.replace(trade, client_id=said.client_id) for trade in trades]
            return self._others(said, source) + [row for trade in named for row in self.traded(trade, source=source)]
        rows = self._place(one, said, source)
        for trade in trades:
            rows += self._fill(one, trade, source)
        return rows + self._settle(one, source)

    def traded(self, trade: TradeSaid, *, source: str) -> list[VenueRow]:
        """The exchange stated a fill."""
        one = self._by_venue_id.get((trade.symbol, trade.venue_order_id))
        if one is None and (name := self._ids.decode(trade.client_id)) is not None:
            one = self._unless_twin(self.order(name), trade.venue_order_id)
        if one is None:
            waits = any(w.venue_order_id is None and w.expected.symbol == trade.symbol for w in self._open.values())
            if trade.client_id is None and waits and len(self._held) < HELD:
                self._held.append(trade)
                return []
            return self._others_fill(trade, source)
        rows = self._bind(one, trade.venue_order_id, source) + self._fill(one, trade, source)
        return rows + self._settle(one, source)

    def release(self) -> list[VenueRow]:
        """Report fills that were held for an order whose id was not known, if none of that symbol is left without one."""
        held, self._held = self._held, []
        return [row for trade in held for row in self.traded(trade, source="trades")]

    # --- inside

    def _find(self, said: OrderSaid) -> Watched | None:
        name = self._ids.decode(said.client_id)
        if name is None:
            return self._by_venue_id.get((said.symbol, said.venue_order_id))
        return self._unless_twin(self.order(name), said.venue_order_id)

    def _unless_twin(self, one: Watched | None, venue_order_id: str) -> Watched | None:
        """None for one that the exchange knows by another id: the two have a name in common, and one of them is not ours."""
        return one if one is None or one.venue_order_id in (None, venue_order_id) else None

    def _is_anothers(self, name: OrderName) -> bool:
        """Whether an order of that name, which is not watched, is another process's: of a later start, or of this one and never sent by us."""
        if name.start == self._start:
            return self.order(name) is not None or name.order > self._forgotten
        return name.start > self._start

    def _adopt(self, said: OrderSaid) -> Watched | None:
        """An open order of this log that nobody remembers: it came to life after its end, in this start or another, and is watched again."""
        name = self._ids.decode(said.client_id)
        if name is None or self._is_anothers(name) or said.state != "open" or said.qty is None or said.side is None:
            return None
        one = self.expect(
            Expected(
                name=name,
                account=self._account,
                strategy="",
                venue=self._venue,
                symbol=said.symbol,
                side=said.side,
                qty=said.qty,
            )
        )
        self._end(one)
        return one

    def _place(self, one: Watched, said: OrderSaid, source: str) -> list[VenueRow]:
        rows = self._bind(one, said.venue_order_id, source)
        one.found()
        if said.state == "open" or said.cum_qty:
            self._is_there(one)
        one.counted = max(one.counted, said.cum_qty or 0, one.expected.qty if said.state == "filled" else 0)
        if said.state == "open" and one.is_done and not one.is_placed:
            self.revived.append(one)
            one.is_placed, one.is_done, one.ending = True, False, None
            self._open[one.expected.name] = self._done.pop(one.expected.name)
            return [*rows, self._row(one, "accepted", source, said=said, reason="after_end")]
        if not one.is_done and said.state != "rejected" and (not one.is_placed or one.is_unknown):
            one.is_placed, one.is_unknown = True, False
            rows.append(self._row(one, "accepted", source, said=said))
        if said.state != "open" and one.ending is None:
            one.ending = said.state, said
        return rows

    def _is_there(self, one: Watched) -> None:
        """The exchange has it: news of a copy of this log where that cannot be ours."""
        if one.is_never:
            one.is_never = False
            self.rivals.append(Rival(one.sent_id, one.expected.symbol, ALL_THE_SAME))

    def _bind(self, one: Watched, venue_order_id: str, source: str) -> list[VenueRow]:
        """Know an order by the exchange's id; fills that were held for it are reported."""
        if one.venue_order_id is not None:
            return []
        one.venue_order_id = venue_order_id
        key = one.expected.symbol, venue_order_id
        self._by_venue_id[key] = one
        mine = [trade for trade in self._held if (trade.symbol, trade.venue_order_id) == key]
        self._held = [trade for trade in self._held if (trade.symbol, trade.venue_order_id) != key]
        return [row for trade in mine for row in self._fill(one, trade, source)]

    def _fill(self, one: Watched, trade: TradeSaid, source: str) -> list[VenueRow]:
        if trade.fill_id in one.fill_ids:
            return []
        if trade.fee is None or trade.fee_asset is None:  # another source tells it with its fee
            one.counted = max(one.counted, one.filled + trade.qty)
            return []
        if one.filled + trade.qty > one.expected.qty:
            return [self._overfilled(one, trade)]
        self._is_there(one)
        is_told = ("fill", trade.symbol, trade.fill_id) in self._foreign  # before the order was taken up
        one.fill_ids[trade.fill_id] = None
        one.filled += trade.qty
        one.counted = max(one.counted, one.filled)
        one.is_placed, one.is_unknown = True, False
        one.found()
        if one.filled == one.expected.qty and one.ending is None:
            one.ending = "filled", None
        return [] if is_told else [self._row(one, "fill", source, trade=trade)]

    def _settle(self, one: Watched, source: str) -> list[VenueRow]:
        """The row of an order's end, once every fill that the exchange counts was reported."""
        if one.is_done or one.ending is None or one.lacks_fills:
            return []
        event, said = one.ending
        self._end(one)
        if event == "filled":  # the fills said so
            return []
        return [self._row(one, event, source, said=said, reason=said.reason if said else None)]

    def _end(self, one: Watched) -> None:
        one.is_done = True
        self._open.pop(one.expected.name, None)
        self._done[one.expected.name] = one
        while len(self._done) > KEPT:
            _, old = self._done.popitem(last=False)
            if old.expected.name.start == self._start:
                self._forgotten = max(self._forgotten, old.expected.name.order)
            self._by_venue_id.pop((old.expected.symbol, old.venue_order_id or ""), None)

    def _others(self, said: OrderSaid, source: str) -> list[VenueRow]:
        """An order that is not watched: another start's, or somebody else's."""
        event = "foreign" if said.state == "open" else said.state
        name = self._ids.decode(said.client_id)
        if name is not None and name.start == self._start:
            self._note_rival(said.client_id, said.symbol, SAME)  # whatever became of it
        known = self._remember(("order", said.symbol, said.venue_order_id, event))
        if known or event == "filled":
            return []
        if event == "foreign":
            self._note_rival(said.client_id, said.symbol, "is open", sure=True)
        elif event == "expired":  # a canceled one may have been canceled by a person who cleans up
            self._note_rival(said.client_id, said.symbol, "ran out", at=said.ts_event)
        values = {
            "client_order_id": self._ids.canonical(name) if name else said.client_id or "",
            "side": said.side,
            "price": said.price if event == "foreign" else None,
            "qty": said.qty if event == "foreign" else None,
        }
        return [self._other_row(name, said.symbol, said.venue_order_id, event, {**values, **_of_order(said), "source": source})]

    def _others_fill(self, trade: TradeSaid, source: str) -> list[VenueRow]:
        if trade.fee is None or self._remember(("fill", trade.symbol, trade.fill_id)):
            return []
        self._note_rival(trade.client_id, trade.symbol, "was filled", at=trade.ts_event)
        name = self._ids.decode(trade.client_id)
        values = {"client_order_id": self._ids.canonical(name) if name else trade.client_id or "", "source": source}
        return [self._other_row(name, trade.symbol, trade.venue_order_id, "fill", {**values, **_of_trade(trade)})]

    def _note_rival(self, client_id: str | None, symbol: str, what: str, *, at: int | None = None, sure: bool = False) -> None:
        """An order that is not ours: news where another xarb sent it, and that was at a known time or certainly just now."""
        if client_id is None:
            return
        name = self._ids.decode(client_id)
        if name is not None and name.start == self._start:
            if self._is_anothers(name) and not any(one.client_id == client_id for one in self.rivals):
                self.rivals.append(Rival(client_id, symbol, SAME))
        elif self._ids.is_rival(client_id, self._start) and (sure or at is not None):
            self.rivals.append(Rival(client_id, symbol, what, at))

    def _remember(self, key: tuple[str, ...]) -> bool:
        """Whether it was remembered already."""
        if key in self._foreign:
            return True
        self._foreign[key] = None
        while len(self._foreign) > KEPT:
            self._foreign.popitem(last=False)
        return False

    def _other_row(self, name: OrderName | None, symbol: str, venue_order_id: str, event: str, values: dict[str, Any]) -> VenueRow:
        whose = {"account": self._account, "strategy": "", "venue": self._venue, "symbol": symbol, "venue_order_id": venue_order_id}
        if name is not None and name.start == self._start and self._is_anothers(name):
            name = None  # of a copy of this log; what it does is somebody else's
        which = {"start": name.start if name else None, "order": name.order if name else None}
        return VenueRow("reports", {**whose, **which, "event": event, **values})

    def _row(
        self,
        one: Watched,
        event: str,
        source: str,
        *,
        said: OrderSaid | None = None,
        trade: TradeSaid | None = None,
        **why: str | None,
    ) -> VenueRow:
        expected = one.expected
        values: dict[str, Any] = {
            "account": expected.account,
            "strategy": expected.strategy,
            "venue": expected.venue,
            "symbol": expected.symbol,
            "start": expected.name.start,
            "order": expected.name.order,
            "client_order_id": self._ids.canonical(expected.name),
            "venue_order_id": one.venue_order_id,
            "event": event,
            "source": source,
            "side": expected.side,
            **why,
        }
        if said is not None:
            values |= _of_order(said)
        if trade is not None:
            values |= _of_trade(trade)
        if why.get("reason") is not None:
            values["reason"] = why["reason"]
        return VenueRow("reports", values)

    def _overfilled(self, one: Watched, trade: TradeSaid) -> VenueRow:
        """A fill that the order's quantity cannot hold is kept, and moves nothing: a report is wrong, or the id stands for two."""
        one.fill_ids[trade.fill_id] = None
        detail = (
            f"{self._ids.canonical(one.expected.name)} has {_text(one.filled)} of {_text(one.expected.qty)}, fill {trade.fill_id}"
        )
        return VenueRow(
            "rejects",
            {
                "venue": self._venue,
                "symbol": trade.symbol,
                "source": f"orders of {self._account}",
                "rule": "overfilled",
                "detail": f"{detail} of {_text(trade.qty)} does not fit",
                "payload": repr(msgspec.structs.asdict(trade)),
            },
        )


def _of_order(said: OrderSaid) -> dict[str, Any]:
    return {"cum_qty": said.cum_qty, "ts_event": said.ts_event, "reason": said.reason}


def _of_trade(trade: TradeSaid) -> dict[str, Any]:
    names = ("fill_id", "price", "qty", "fee", "fee_asset", "liquidity", "ts_event")
    return {name: getattr(trade, name) for name in names} | ({"side": trade.side} if trade.side else {})


def _text(money: int) -> str:
    return format_decimal(money, 18)
