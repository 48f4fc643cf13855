"""What an exchange trades, as instruments: ccxt's markets, whose numbers stay the decimal text that the exchange sent."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from xarb.errors import ConfigError, Retryable
from xarb.model.instrument import Instrument
from xarb.model.units import MAX_SCALE, NANOS_PER_MS, Money, parse_decimal, parse_money, parse_ratio
from xarb.venues.exchange import OWN_PLACE, Place, exchange

_KINDS: Final = {"spot": "spot", "swap": "perpetual", "future": "future", "option": "option"}
_DECIMAL_PLACES, _TICK_SIZE = 2, 4  # ccxt's precision modes; the third, significant digits, has no step
_NATIVES: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {  # where the stream has another name than ccxt's `id`
    "kraken": lambda market: _of_kraken(market["info"]["wsname"]),  # websocket v2, "symbol"
}


def data_client(name: str, symbols: Sequence[str], *, kinds: Sequence[str] = (), place: Place = OWN_PLACE) -> Any:
    """A ccxt client without keys that loads no more markets than these symbols need; arguments as `load_instruments`.

    Raises:
        ConfigError: ccxt knows no such exchange.
    """
    kinds = kinds or (() if any(":" in symbol for symbol in symbols) else ("spot",))
    options: dict[str, Any] = {"fetchCurrencies": False, "fetchMargins": False}
    if kinds:
        options["fetchMarkets"] = {"types": list(kinds)}
    return exchange(name, options={"options": options}, place=place)


class Listed(NamedTuple):
    """A market of an exchange: the instrument, and what ccxt states as the taker fee of those who trade little, None where it does not."""

    instrument: Instrument
    taker_ppb: int | None


async def load_instruments(
    name: str, venue: str, symbols: Sequence[str], *, kinds: Sequence[str] = (), place: Place = OWN_PLACE
) -> list[Instrument]:
    """The instruments of unified symbols on an exchange, in their order.

    Args:
        name: ccxt's id of the exchange.
        venue: venue id in the log.
        symbols: such as `BTC/USDT` or `BTC/USDT:USDT`.
        kinds: ccxt's words for the markets to load, of `spot`, `linear` and `inverse`; none: spot, unless a symbol is a contract's.
        place: where the exchange is.

    Raises:
        ConfigError: ccxt knows no such exchange, or the exchange no such symbol.
        Retryable: the markets could not be had.
    """
    listed = await load_listed(name, venue, symbols, kinds=kinds, place=place)
    return [one.instrument for one in listed]


async def ask_instruments(
    name: str, venue: str, symbols: Sequence[str], *, kinds: Sequence[str] = (), place: Place = OWN_PLACE
) -> dict[str, Instrument]:
    """As `load_instruments`, by symbol, without those that the exchange does not list.

    Raises:
        Retryable: the markets could not be had, or one of them cannot be read.
    """
    try:
        client, markets = await _markets(name, venue, symbols, kinds=kinds, place=place)
        there = [symbol for symbol in symbols if symbol in markets]
        return {symbol: _found(markets, symbol, venue, _origin(name, place), client).instrument for symbol in there}
    except ConfigError as error:
        raise Retryable(str(error)) from None


async def load_listed(
    name: str, venue: str, symbols: Sequence[str], *, kinds: Sequence[str] = (), place: Place = OWN_PLACE
) -> list[Listed]:
    """As `load_instruments`, with what ccxt states as taker fees.

    Raises:
        ConfigError: as `load_instruments`.
        Retryable: as `load_instruments`.
    """
    client, markets = await _markets(name, venue, symbols, kinds=kinds, place=place)
    return [_found(markets, symbol, venue, _origin(name, place), client) for symbol in symbols]


def _origin(name: str, place: Place) -> str:
    return f"{name} {place.rest_url or 'public API'} via ccxt"


async def _markets(
    name: str, venue: str, symbols: Sequence[str], *, kinds: Sequence[str], place: Place
) -> tuple[Any, Mapping[str, Any]]:
    """The client that was asked, closed, and its markets by symbol."""
    client = data_client(name, symbols, kinds=kinds, place=place)
    client.number = str  # steps and limits keep their text: no float is made of them
    try:
        markets = await client.load_markets()
    except Exception as error:  # noqa: BLE001  # ccxt's own errors, and whatever its parsers raise on an answer they do not know
        raise Retryable(f"{venue}: the markets of {name} could not be loaded: {type(error).__name__} {str(error)[:300]}") from None
    finally:
        await client.close()
    return client, markets


def _found(markets: Mapping[str, Any], symbol: str, venue: str, origin: str, client: Any) -> Listed:
    market = markets.get(symbol)
    if market is None:
        near = ", ".join(difflib.get_close_matches(symbol, markets, n=5, cutoff=0.5)) or "none"
        raise ConfigError(f"{venue}: {client.id} has no market {symbol}; similar ones: {near}")
    one = instrument_of(market, venue, exchange_id=client.id, mode=client.precisionMode, origin=origin)
    taker = market.get("taker")
    return Listed(one, None if taker is None else parse_ratio(str(taker)))


def instrument_of(market: Mapping[str, Any], venue: str, *, exchange_id: str, mode: int, origin: str) -> Instrument:
    """ccxt's market as an instrument.

    Args:
        market: with numbers as decimal text.
        venue: venue id in the log.
        exchange_id: ccxt's id of the exchange.
        mode: ccxt's precision mode of the exchange.
        origin: where this is known from.

    Raises:
        ConfigError: a kind of market that is not known here, or a number that is none.
    """
    try:
        kind = _KINDS[market["type"]]
        px_scale, tick = _step(market["precision"].get("price"), mode)
        qty_scale, lot = _step(market["precision"].get("amount"), mode)
        limits = market.get("limits") or {}
        native = _NATIVES[exchange_id](market) if exchange_id in _NATIVES else str(market["id"])
        return Instrument(
            venue=venue,
            symbol=market["symbol"],
            native=native,
            kind=kind,
            base=market["base"],
            quote=market["quote"],
            settle=market.get("settle") or market["quote"],
            px_scale=px_scale,
            qty_scale=qty_scale,
            tick_int=tick,
            lot_int=lot,
            min_qty=_least(limits, "amount"),
            min_notional=_least(limits, "cost"),
            contract="none" if not market.get("contract") else "inverse" if market.get("inverse") else "linear",
            contract_size=_money(market.get("contractSize")) if market.get("contract") else None,
            expiry=None if market.get("expiry") is None else int(market["expiry"]) * NANOS_PER_MS,
            active=market.get("active") is not False,
            origin=origin,
        )
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{venue}: market {market.get('symbol')} of {exchange_id} cannot be read: {error!r}") from None


def is_news(before: Instrument | None, now: Instrument) -> bool:
    """Whether the log knows an instrument but for something other than its scales, which grow by themselves."""
    if before is None:
        return False
    same_scales = msgspec.structs.replace(now, px_scale=before.px_scale, qty_scale=before.qty_scale, origin=before.origin)
    finer = (before.px_scale - now.px_scale, before.qty_scale - now.qty_scale)
    steps = [
        None if step is None or decimals < 0 else step * 10**decimals
        for step, decimals in zip((now.tick_int, now.lot_int), finer, strict=True)
    ]
    return msgspec.structs.replace(same_scales, tick_int=steps[0], lot_int=steps[1]) != before


def _of_kraken(name: str) -> str:
    """The v2 name of a v1 name: `XBT/USD` is `BTC/USD`. ccxt's unified names will not do: its LUNA is Kraken's LUNA2."""
    return "/".join({"XBT": "BTC", "XDG": "DOGE"}.get(asset, asset) for asset in name.split("/"))


def _step(text: Any, mode: int) -> tuple[int, int | None]:
    """The decimals and the step at them; without a step they start at 0 and grow with the values that come."""
    if text is None or mode not in (_DECIMAL_PLACES, _TICK_SIZE):
        return 0, None
    digits, scale = parse_decimal(str(text))
    if mode == _DECIMAL_PLACES:
        if scale or not 0 <= digits <= MAX_SCALE:
            raise ValueError(f"{text} is no number of decimals")
        return digits, 1
    if digits <= 0 or scale > MAX_SCALE:
        return 0, None
    return scale, digits


def _least(limits: Mapping[str, Any], name: str) -> Money | None:
    return _money((limits.get(name) or {}).get("min"))


def _money(text: Any) -> Money | None:
    return None if text is None else parse_money(str(text))
