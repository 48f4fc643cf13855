"""OKX's REST: public and signed requests, their envelope, and the faults that strike here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xarb.serve.exchange import Exchange, Listing
from xarb.serve.okx import shapes
from xarb.serve.okx.errors import OkxError, bad, no_instrument
from xarb.serve.okx.trading import Items
from xarb.serve.okx.venue import OkxVenue
from xarb.serve.replies import Reply, failed, send
from xarb.serve.untrusted import Repeated, body_of, fields_of, json_of, whole_of

if TYPE_CHECKING:
    from aiohttp import web

PREFIX: Final = "/api/v5/"
_encode = msgspec.json.Encoder().encode
_JSON: Final = {"Content-Type": "application/json"}


class PublicData:
    """OKX's public requests.

    Args:
        exchange: the venue.
        listings: by instrument id.
    """

    def __init__(self, exchange: Exchange, listings: Mapping[str, Listing]) -> None:
        self._exchange = exchange
        self._listings = listings
        self.requests: dict[str, Callable[[Mapping[str, str]], Items]] = {
            "public/time": lambda _: [{"ts": str(exchange.now_ms())}],
            "public/instruments": self._instruments,
            "market/tickers": self._tickers,
            "market/ticker": lambda values: [shapes.ticker(self._listing(values), exchange.now_ms())],
            "market/books": self._book,
            "market/books-full": self._book,
            "market/trades": self._trades,
            "market/history-trades": self._trades,
            "market/candles": self._candles,
            "market/history-candles": self._candles,
            "system/status": lambda _: [],
        }

    def _instruments(self, values: Mapping[str, str]) -> Items:
        if values.get("instType") not in {"SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"}:
            raise bad("instType")
        if values["instType"] != "SPOT":
            return []
        wanted = values.get("instId")
        return [shapes.instrument(one) for name, one in self._listings.items() if wanted in {None, name}]

    def _tickers(self, values: Mapping[str, str]) -> Items:
        if values.get("instType") != "SPOT":
            return []
        return [shapes.ticker(one, self._exchange.now_ms()) for one in self._listings.values()]

    def _book(self, values: Mapping[str, str]) -> Items:
        return [shapes.book(self._listing(values), _count(values, "sz", 1, 5000), self._exchange.now_ms())]

    def _trades(self, values: Mapping[str, str]) -> Items:
        listing = self._listing(values)
        prints = list(listing.tape.prints)[-_count(values, "limit", 100, 500) :]
        return [shapes.trade(listing, one) for one in reversed(prints)]

    def _candles(self, values: Mapping[str, str]) -> Any:
        listing = self._listing(values)
        interval = shapes.BARS.get(values.get("bar", "1m"))
        if interval is None:
            raise bad("bar")
        before, after = (whole_of(values.get(name)) for name in ("before", "after"))
        bars = [
            one for one in listing.tape.bars(interval) if (before is None or one.ms > before) and (after is None or one.ms < after)
        ]
        kept = bars[-_count(values, "limit", 100, 300) :]
        return [shapes.bar(one, interval, self._exchange.now_ms()) for one in reversed(kept)]

    def _listing(self, values: Mapping[str, str]) -> Listing:
        listing = self._listings.get(values.get("instId", ""))
        if listing is None:
            raise no_instrument()
        return listing


class OkxRest:
    """The REST side of one venue.

    Args:
        venue: what answers.
    """

    def __init__(self, venue: OkxVenue) -> None:
        self._venue = venue
        self._public = PublicData(venue.exchange, venue.listings)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        house, name = self._venue.house, f"{request.method} {request.path}"
        body = await body_of(request)
        number = house.log.next_id()
        house.log.note(house.venue, "request", name, exchange_id=number, body=f"{request.query_string} {body}".strip())
        fault = house.faults.request(name) if house.faults.any else None
        if fault is not None:
            house.log.note(house.venue, "fault", fault.kind, exchange_id=number, body=name)
        if fault is not None and fault.kind == "status":
            reply = failed(fault, None if fault.code is None else {"code": str(fault.code), "msg": fault.message, "data": []})
        elif fault is not None and fault.kind == "empty":
            reply = Reply(200, _encode({"code": "0", "msg": "", "data": []}), _JSON)
        else:
            reply = self._answer(request, body)
        told = reply.body.decode() if house.log.is_on else ""
        house.log.note(house.venue, "reply", name, exchange_id=number, status=reply.status, body=told)
        return await send(request, reply, fault)

    def _answer(self, request: web.Request, body: str) -> Reply:
        path = request.path.removeprefix(PREFIX)
        signed = self._venue.trading.requests.get((request.method, path))
        public = self._public.requests.get(path) if request.method == "GET" else None
        if not request.path.startswith(PREFIX) or (signed is None and public is None):
            return Reply(404, _encode({"code": "404", "msg": "Not Found", "data": []}), _JSON)
        try:
            values = _query(request)
            self._venue.countdowns.look()
            self._venue.count(path, request.remote or "")
            if public is not None:
                return Reply(200, _encode({"code": "0", "msg": "", "data": public(values)}), _JSON)
            assert signed is not None
            payload = f"{request.method}{request.raw_path}{body}"
            now_ms = self._venue.exchange.now_ms()
            key = self._venue.keys.of_request(request.headers, payload, now_ms=now_ms, permission=signed.permission)
            found = signed.answer(_json(body) if request.method == "POST" else values, key)
        except OkxError as error:
            return Reply(error.status, _encode(error.body()), _JSON)
        return Reply(200, _encode(batch_answer(found) if signed.is_batch else {"code": "0", "msg": "", "data": found}), _JSON)


def batch_answer(items: Items) -> dict[str, Any]:
    """The envelope of orders: 0 all taken, 1 none, 2 some."""
    good = sum(item["sCode"] == "0" for item in items)
    code = "0" if good == len(items) else "2" if good else "1"
    return {
        "code": code,
        "msg": "" if code == "0" else "All operations failed" if code == "1" else "Bulk operation partially succeeded.",
        "data": items,
    }


def _query(request: web.Request) -> dict[str, str]:
    """The query's parameters. What the exchange does with one that comes twice is not written; here it is wrong."""
    try:
        return fields_of(request.raw_path.partition("?")[2])
    except Repeated as error:
        raise bad(error.name) from None


def _json(body: str) -> Any:
    try:
        return json_of(body)
    except ValueError:
        raise OkxError("50006", "Invalid Content-Type, please use 'application/json' format.", status=400) from None


def _count(values: Mapping[str, str], name: str, default: int, most: int) -> int:
    found = whole_of(values.get(name) or default)
    if not found:
        raise bad(name)
    return min(found, most)


__all__ = ["OkxRest", "batch_answer"]
