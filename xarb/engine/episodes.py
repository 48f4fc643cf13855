"""The episodes that the kernel follows: a pair's edge from its opening to its close."""

from __future__ import annotations

from typing import Final

from xarb.engine.kernel import state
from xarb.engine.outputs import known
from xarb.engine.strategy import Edge
from xarb.engine.words import fields, place, width, words

_STATUS, _STRATEGY, _OPPORTUNITY = (place(state.PAIR, name) for name in ("status", "strategy", "opportunity"))
_BID, _ASK, _BID_SEQ, _ASK_SEQ = (place(state.INSTRUMENT, name) for name in ("bid", "ask", "bid_seq", "ask_seq"))
_edge_at = fields(state.PAIR, "status", "number", "since", "opportunity", "best_edge", "edge", "abnormal").unpack_from
_decided_at = fields(state.PAIR, "sell", "buy", "status", "since", "best_edge", "edge").unpack_from
_WORDS, _BYTES = width(state.PAIR), state.PAIR.itemsize
_INSTRUMENT_WORDS: Final = width(state.INSTRUMENT)
Standing = tuple[int | None, int, int | None, int | None, int, int]


class Episodes:
    """Reads them; pairs are numbered over all strategies."""

    def __init__(self, kernel: state.KernelState) -> None:
        self._pairs = words(kernel.tables[state.PAIRS])
        self._statuses = self._pairs[_STATUS::_WORDS]
        self._feeds = words(kernel.tables[state.INSTRUMENTS])

    def is_open(self, pair: int) -> bool:
        """Whether the pair's episode stands."""
        return self._statuses[pair] == state.PAIR_OPEN

    def edge(self, pair: int) -> Edge:
        """The episode of a pair as a strategy sees it."""
        status, number, since, opportunity, best_edge, edge, abnormal = _edge_at(self._pairs, pair * _BYTES)
        return Edge(number, opportunity, edge if status == state.PAIR_OPEN else 0, best_edge, since, abnormal != 0)

    def open_edges(self, strategy: int) -> list[Edge]:
        """Open episodes of a strategy in pair order."""
        statuses, at, edges = self._statuses.tolist(), -1, []
        for _ in range(statuses.count(state.PAIR_OPEN)):
            at = statuses.index(state.PAIR_OPEN, at + 1)
            if self._pairs[at * _WORDS + _STRATEGY] == strategy:
                edges.append(self.edge(at))
        return edges if len(edges) < 2 else sorted(edges, key=_place_of)

    def pair_of(self, strategy: int, opportunity: int) -> int | None:
        """The pair of a strategy whose last episode this is, None where there is none."""
        try:
            pair = self._pairs[_OPPORTUNITY::_WORDS].tolist().index(opportunity)
        except ValueError:
            return None
        return pair if self._pairs[pair * _WORDS + _STRATEGY] == strategy else None

    def standing(self, pair: int) -> tuple[Standing, int]:
        """What a decision on the pair's episode rests on (edge while it is open, best edge, bid, ask, their rows), and since when it stands."""
        feeds = self._feeds
        sell, buy, status, since, best_edge, edge = _decided_at(self._pairs, pair * _BYTES)
        sell, buy = sell * _INSTRUMENT_WORDS, buy * _INSTRUMENT_WORDS
        quotes = (known(feeds[sell + _BID]), known(feeds[buy + _ASK]), feeds[sell + _BID_SEQ], feeds[buy + _ASK_SEQ])
        return (edge if status == state.PAIR_OPEN else None, best_edge, *quotes), since


def _place_of(edge: Edge) -> int:
    return edge.pair
