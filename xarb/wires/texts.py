"""The levels of a book as the exchange wrote them, in order of price: what checksums are computed over."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from xarb.wires.events import DepthEvent


class _Side:
    """Levels of one side. `sign` is -1 for bids, so that keys run from the best price."""

    __slots__ = ("keys", "sign", "texts")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.texts: list[str] = []

    def put(self, price: int, qty: int, text: str) -> None:
        """Set, replace or (quantity 0) remove a level."""
        key = self.sign * price
        at = bisect_left(self.keys, key)
        found = at < len(self.keys) and self.keys[at] == key
        if qty == 0:
            if found:
                del self.keys[at], self.texts[at]
        elif found:
            self.texts[at] = text
        else:
            self.keys.insert(at, key)
            self.texts.insert(at, text)

    def cut(self, depth: int) -> list[int]:
        """Forget the levels beyond `depth`; their prices."""
        prices = [self.sign * key for key in self.keys[depth:]]
        del self.keys[depth:], self.texts[depth:]
        return prices

    def rescale(self, factor: int) -> None:
        """Bring the keys to a finer scale."""
        self.keys = [key * factor for key in self.keys]


class LevelTexts:
    """The text of each level of one book, kept in step with the book's messages."""

    __slots__ = ("_px_scale", "asks", "bids")

    def __init__(self) -> None:
        self._px_scale = 0
        self.bids = _Side(-1)
        self.asks = _Side(1)

    def apply(self, event: DepthEvent, bids: Iterable[str], asks: Iterable[str]) -> None:
        """Apply a message; `bids` and `asks` are the texts of its levels, in its order."""
        if event.is_snapshot:
            self.bids, self.asks = _Side(-1), _Side(1)
        elif event.px_scale != self._px_scale:
            factor = 10 ** (event.px_scale - self._px_scale)
            self.bids.rescale(factor)
            self.asks.rescale(factor)
        self._px_scale = event.px_scale
        for price, qty, text in zip(event.bids, event.bid_qtys, bids, strict=True):
            self.bids.put(price, qty, text)
        for price, qty, text in zip(event.asks, event.ask_qtys, asks, strict=True):
            self.asks.put(price, qty, text)

    def top(self, depth: int) -> tuple[Sequence[str], Sequence[str]]:
        """The texts of the best `depth` bids and asks, best first."""
        return self.bids.texts[:depth], self.asks.texts[:depth]
