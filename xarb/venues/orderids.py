"""Client order ids: (log, start, order) in the alphabet and length of each exchange, and back.

An order of unknown fate is looked up by this id, and an id that does not decode is an order of somebody else. Where the exchange
allows it the id is the engine's own text, `<log>-<start>-<order>`; else 18 letters and digits that hold the same three numbers.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from xarb.errors import ConfigError, InvariantBroken

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_LOG: Final = re.compile(r"[0-9a-f]{8}\Z")
_CANONICAL: Final = re.compile(r"([0-9a-f]{8})-([1-9][0-9]*|0)-([1-9][0-9]*)\Z")
_COMPACT: Final = re.compile(r"x([0-9a-z]{7})([0-9a-z]{3})([0-9a-z]{7})\Z")
_WIDTHS: Final = (7, 3, 7)  # digits to base 36: 32 bits of the log, 46,655 starts, 78 billion orders


class IdRule(NamedTuple):
    """What an exchange takes as a client order id.

    is_plain: whether the engine's own text fits. pattern: what it takes. prefix: what ccxt or the exchange puts before it.
    source: where that is written, and as of when.
    """

    is_plain: bool
    pattern: str
    source: str
    prefix: str = ""


ID_RULES: Final[dict[str, IdRule]] = {
    "binance": IdRule(
        is_plain=True,
        pattern=r"[.A-Z:/a-z0-9_-]{1,36}",
        source="Binance spot rest-api.md and exchangeInfo, 2026: ^[\\.A-Z\\:/a-z0-9_-]{1,36}$",
    ),
    "binanceusdm": IdRule(is_plain=True, pattern=r"[.A-Z:/a-z0-9_-]{1,36}", source="Binance USD-M futures, new order, 2026"),
    "okx": IdRule(
        is_plain=False, pattern=r"[A-Za-z0-9]{1,32}", source="OKX v5 clOrdId: case-sensitive alphanumerics, up to 32, 2026"
    ),
    "bybit": IdRule(
        is_plain=True, pattern=r"[A-Za-z0-9_-]{1,36}", source="Bybit v5 orderLinkId: up to 36 of letters, digits, - and _, 2026"
    ),
    "kraken": IdRule(
        is_plain=False,
        pattern=r"[A-Za-z0-9]{1,18}",
        source="Kraken AddOrder cl_ord_id: a UUID or free text up to 18 characters, 2026",
    ),
    "coinbase": IdRule(
        is_plain=True,
        pattern=r"[A-Za-z0-9-]{1,128}",
        source="Coinbase Advanced client_order_id: a text of the client's, 2026; kept short",
    ),
    "kucoin": IdRule(
        is_plain=True, pattern=r"[A-Za-z0-9_-]{1,40}", source="KuCoin clientOid: up to 40 of letters, digits, - and _, 2026"
    ),
    "gate": IdRule(
        is_plain=True,
        pattern=r"t-[0-9A-Za-z_.-]{1,28}",
        source="Gate v4 text: t- and up to 28 of letters, digits, - _ ., 2026",
        prefix="t-",
    ),
    "bitstamp": IdRule(
        is_plain=True,
        pattern=r"[A-Za-z0-9-]{1,36}",
        source="Bitstamp client_order_id: a unique text, 2026; kept within a UUID's length",
    ),
    "upbit": IdRule(
        is_plain=True, pattern=r"[A-Za-z0-9_-]{1,36}", source="Upbit identifier: a unique text, 2026; kept within a UUID's length"
    ),
}


class OrderName(NamedTuple):
    """Which order an id names: start and number within the log."""

    start: int
    order: int


def named(text: str, log: str) -> OrderName | None:
    """Which order the engine's own text names; None: it is none, or of another log than the one whose id begins with these eight characters."""
    found = _CANONICAL.match(text)
    return None if found is None or found[1] != log else OrderName(int(found[2]), int(found[3]))


class ClientIds:
    """Client order ids of one log at one exchange.

    Args:
        log_id: the log's id, of which the first eight characters count; they are hexadecimal.
        exchange: ccxt's id of the exchange.

    Raises:
        ConfigError: the exchange's rule is not known, or the log's id is not hexadecimal.
    """

    def __init__(self, log_id: str, exchange: str) -> None:
        rule = ID_RULES.get(exchange)
        if rule is None:
            raise ConfigError(
                f"{exchange}: it is not known what it takes as a client order id; orders are possible at {', '.join(ID_RULES)}"
            )
        self._log = log_id[:8]
        if not _LOG.match(self._log):
            raise ConfigError(f"log id {log_id!r}: its first eight characters must be hexadecimal")
        self._rule = rule
        self._pattern = re.compile(rule.pattern + r"\Z")

    def canonical(self, name: OrderName) -> str:
        """The engine's text, as in the column `client_order_id`."""
        return f"{self._log}-{name.start}-{name.order}"

    def encode(self, name: OrderName) -> str:
        """What is given to ccxt; `sent` is what the exchange then sees.

        Raises:
            InvariantBroken: a number is too large for the exchange's length.
        """
        text = self.canonical(name) if self._rule.is_plain else self._compact(name)
        if not self._pattern.match(self._rule.prefix + text):
            raise InvariantBroken(f"client order id {text!r} is none that the exchange takes: {self._rule.source}")
        return text

    def sent(self, name: OrderName) -> str:
        """The id as the exchange states it."""
        return self._rule.prefix + self.encode(name)

    def decode(self, text: str | None) -> OrderName | None:
        """Which order of this log an exchange's id names; None: it is somebody else's."""
        if text is None or not text.startswith(self._rule.prefix):
            return None
        text = text[len(self._rule.prefix) :]
        if self._rule.is_plain:
            return named(text, self._log)
        found = _COMPACT.match(text)
        if found is None or found[1] != _based(int(self._log, 16), _WIDTHS[0]):
            return None
        return OrderName(int(found[2], 36), int(found[3], 36))

    def is_rival(self, text: str | None, start: int) -> bool:
        """Whether an exchange's id was made by xarb, and neither by this log nor by a start of it up to that one."""
        if text is None or not text.startswith(self._rule.prefix):
            return False
        if (mine := self.decode(text)) is not None:
            return mine.start > start
        text = text[len(self._rule.prefix) :]
        if self._rule.is_plain:
            return _CANONICAL.match(text) is not None
        found = _COMPACT.match(text)
        return found is not None and int(found[1], 36) < 2**32

    def _compact(self, name: OrderName) -> str:
        return "x" + "".join(map(_based, (int(self._log, 16), *name), _WIDTHS))


def _based(number: int, width: int) -> str:
    """A number to base 36 with leading zeros.

    Raises:
        InvariantBroken: it needs more digits.
    """
    left, text = number, ""
    for _ in range(width):
        left, digit = divmod(left, 36)
        text = _DIGITS[digit] + text
    if left or number < 0:
        raise InvariantBroken(f"{number} does not fit in {width} digits to base 36")
    return text
