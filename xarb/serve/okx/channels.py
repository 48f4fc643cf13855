"""OKX's channels: who listens to what, and the frames of each. `books` is kept to 400 levels a side, chained by `prevSeqId`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from xarb.serve.book import ASK, BID, Change
from xarb.serve.exchange import Exchange, Listing
from xarb.serve.okx import shapes
from xarb.serve.orders import Fill, ServedOrder
from xarb.serve.socket import Socket
from xarb.serve.tape import Print

DEPTH: Final = 400
PUBLIC: Final = ("tickers", "bbo-tbt", "books", "books5", "trades")
PRIVATE: Final = ("orders", "account")
_QUIET_BEATS: Final = 600  # 60 s of 100 ms: an unchanged book says so
_encode = msgspec.json.Encoder().encode
Levels = dict[int, int]
Arg = Mapping[str, Any]


class _Book:
    """What the listeners of one book were told last."""

    __slots__ = ("beats", "levels", "seq")

    def __init__(self) -> None:
        self.seq = -1
        self.levels: tuple[Levels, Levels] = ({}, {})
        self.beats = 0

    def step(self, listing: Listing, now_ms: int) -> dict[str, Any] | None:
        """The difference to what is there now; None when there is none to tell."""
        self.beats += 1
        if listing.book.updates == self.seq and self.beats < _QUIET_BEATS:
            return None
        told: list[list[list[str]]] = []
        for side in (BID, ASK):
            now, before = dict(listing.levels(side, DEPTH)), self.levels[side]
            changed = [shapes.level(price, 0) for price in before if price not in now]
            changed += [shapes.level(price, qty) for price, qty in now.items() if before.get(price) != qty]
            told.append(changed)
            before.clear()
            before.update(now)
        previous, self.seq, self.beats = self.seq, listing.book.updates, 0
        return _book(told, now_ms, self.seq, previous)

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """All of it, as it was told last."""
        bids = [shapes.level(price, qty) for price, qty in sorted(self.levels[BID].items(), reverse=True)]
        asks = [shapes.level(price, qty) for price, qty in sorted(self.levels[ASK].items())]
        return _book([bids, asks], now_ms, self.seq, -1)


def _book(told: list[list[list[str]]], now_ms: int, seq: int, previous: int) -> dict[str, Any]:
    return {"asks": told[ASK], "bids": told[BID], "ts": str(now_ms), "checksum": 0, "seqId": seq, "prevSeqId": previous}


class Channels:
    """The channels of one venue.

    Args:
        exchange: the venue.
        listings: by instrument id.
        assets: what an account may have.
    """

    def __init__(self, exchange: Exchange, listings: Mapping[str, Listing], assets: Callable[[str], list[str]]) -> None:
        self._exchange = exchange
        self._listings = listings
        self._assets = assets
        self._names = {listing.number: name for name, listing in listings.items()}
        self._public: dict[tuple[str, str], dict[Socket, None]] = {}
        self._private: dict[tuple[str, str], dict[Socket, dict[str, Arg]]] = {}  # by channel and account: arguments by their text
        self._books = {name: _Book() for name in listings}
        self._tops: dict[str, tuple[Any, Any]] = {}
        self._told: dict[tuple[str, str], tuple[int, int]] = {}  # updates and last trade, by channel and instrument
        exchange.watch(self)

    # --- who listens

    @property
    def listened(self) -> int:
        """Public channels of instruments that somebody listens to."""
        return len(self._public)

    @property
    def users(self) -> int:
        """Sockets on private channels."""
        return sum(len(sockets) for sockets in self._private.values())

    def knows(self, arg: Arg) -> bool:
        """Whether a public argument names a channel and an instrument that are served."""
        return arg.get("channel") in PUBLIC and arg.get("instId") in self._listings

    def listen(self, socket: Socket, arg: Arg) -> None:
        """Add a public channel; what it stands at is told at once."""
        channel, name = str(arg["channel"]), str(arg["instId"])
        listing, now = self._listings[name], self._exchange.now_ms()
        if channel == "books":
            self._step(name)  # those who listen already are told first
            self._tell([socket], "books", name, self._books[name].snapshot(now), action="snapshot")
        elif channel == "bbo-tbt":
            self._tell([socket], channel, name, shapes.book(listing, 1, now))
        elif channel == "books5":
            self._tell([socket], channel, name, {"instId": name, **shapes.book(listing, 5, now)})
        elif channel == "tickers":
            self._tell([socket], channel, name, shapes.ticker(listing, now))
        self._public.setdefault((channel, name), {})[socket] = None

    def listen_privately(self, socket: Socket, arg: Arg, account: str) -> None:
        """Add a private channel; `account` is told at once."""
        channel = str(arg["channel"])
        self._private.setdefault((channel, account), {}).setdefault(socket, {})[_text(arg)] = arg
        if channel == "account":
            purse = self._exchange.desk.purse(account, self._exchange.name)
            self._send(socket, arg, channel, shapes.balance(purse, self._assets(account), self._exchange.now_ms()))

    def forget(self, socket: Socket, arg: Arg | None = None) -> None:
        """Take away one channel, or all of a socket."""
        for key in [key for key, sockets in self._public.items() if socket in sockets]:
            if arg is None or key == (arg.get("channel"), arg.get("instId")):
                del self._public[key][socket]
                if not self._public[key]:
                    del self._public[key]
        for (channel, _), sockets in self._private.items():
            if arg is None:
                sockets.pop(socket, None)
            elif channel == arg.get("channel") and socket in sockets:
                sockets[socket].pop(_text(arg), None)

    def forget_accounts(self) -> None:
        """Take away every private channel of every socket, without a word."""
        self._private.clear()

    # --- at once

    def book_moved(self, listing: Listing, changes: Sequence[Change]) -> None:
        """A changed top is told at once; everything else with the next beat."""
        del changes
        name = self._names[listing.number]
        sockets = self._public.get(("bbo-tbt", name))
        if not sockets:
            return
        top = listing.best(BID), listing.best(ASK)
        if self._tops.get(name) != top:
            self._tops[name] = top
            self._tell(sockets, "bbo-tbt", name, shapes.book(listing, 1, self._exchange.now_ms()))

    def printed(self, listing: Listing, one: Print) -> None:
        """A public trade."""
        name = self._names[listing.number]
        sockets = self._public.get(("trades", name))
        if sockets:
            self._tell(sockets, "trades", name, {**shapes.trade(listing, one), "count": "1", "seqId": listing.book.updates})

    def order_moved(self, order: ServedOrder, what: str, fill: Fill | None) -> None:
        """An order changed; its state says how."""
        del what
        name = self._names[order.intent.number]
        event = shapes.order_event(order, name, fill)
        for socket, args in self._private.get(("orders", order.intent.account), {}).items():
            for arg in args.values():
                if arg.get("instType", "ANY") in {"ANY", "SPOT"} and arg.get("instId") in {None, "", name}:
                    self._send(socket, arg, "orders", event)

    def money_moved(self, account: str, assets: Sequence[str]) -> None:
        """Balances changed."""
        purse = self._exchange.desk.purse(account, self._exchange.name)
        for socket, args in self._private.get(("account", account), {}).items():
            for arg in args.values():
                chosen = [asset for asset in assets if arg.get("ccy") in {None, "", asset}]
                self._send(socket, arg, "account", shapes.balance(purse, chosen, self._exchange.now_ms()))

    # --- in a rhythm

    def beat(self) -> None:
        """Every 100 ms: books and tickers that changed."""
        now = self._exchange.now_ms()
        for channel, name in list(self._public):
            listing = self._listings[name]
            if channel == "books":
                self._step(name)
                continue
            state = (listing.book.updates, listing.tape.last_id if channel == "tickers" else 0)
            if channel in {"tickers", "books5"} and self._told.get((channel, name)) != state:
                self._told[channel, name] = state
                frame = shapes.ticker(listing, now) if channel == "tickers" else {"instId": name, **shapes.book(listing, 5, now)}
                self._tell(self._public[channel, name], channel, name, frame)

    def _step(self, name: str) -> None:
        """Tell what changed in a book since it was told last."""
        frame = self._books[name].step(self._listings[name], self._exchange.now_ms())
        if frame is not None:
            self._tell(self._public.get(("books", name), {}), "books", name, frame, action="update")

    def _tell(
        self, sockets: Sequence[Socket] | Mapping[Socket, None], channel: str, name: str, frame: Any, *, action: str = ""
    ) -> None:
        message: dict[str, Any] = {"arg": {"channel": channel, "instId": name}}
        if action:
            message["action"] = action
        text = _encode({**message, "data": [frame]}).decode()
        for socket in sockets:
            socket.push(f"{channel}:{name}", text)

    @staticmethod
    def _send(socket: Socket, arg: Arg, channel: str, data: Any) -> None:
        socket.push(channel, _encode({"arg": {**arg, "uid": "1"}, "data": [data]}).decode())


def _text(arg: Arg) -> str:
    return msgspec.json.encode(arg, order="deterministic").decode()


__all__ = ["PRIVATE", "PUBLIC", "Channels"]
