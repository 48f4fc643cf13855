"""Inputs outside the compiled kinds: instruments, connections, wallets, rejects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from xarb.engine.kernel import fold, life, state
from xarb.engine.risk import Risk
from xarb.engine.setup import lay_mid_units, lay_steps, lay_thresholds
from xarb.engine.strategy import Pair
from xarb.errors import LogError
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument, instrument_fields
from xarb.model.units import INT64_MAX, NULL

PLACE: Final = "frames"
"""A raw message takes its place in the order and moves nothing, time included: without it the same is decided at the same seqs."""
_IDENTITY: Final = ("base", "quote", "settle", "kind", "contract")  # what balances and pairs rest on
_CONNECTION_EVENTS: Final = {
    "opened": life.CONNECTED,
    "subscribed": life.CONNECTED,
    "gap": life.GAP,
    "lost": life.LOST,
    "closed": life.LOST,
    "heartbeat": -1,
}


class SlowRows:
    """Applies them to the kernel's memory.

    Args:
        kernel: the memory.
        instruments: by number; replaced in place when an `instruments` row says something new.
        groups: instruments proven to be the same thing.
        pairs: strategy id and pair by kernel number.
        risk: told what the venues say of deposits and withdrawals, and of their clocks.
        changed: told the number of an instrument of which something new is known, and the powers of ten by which its scales grew.
    """

    def __init__(
        self,
        kernel: state.KernelState,
        instruments: list[Instrument],
        groups: Sequence[Sequence[int]],
        *,
        pairs: Sequence[tuple[str, Pair]],
        risk: Risk,
        changed: Callable[[int, int, int], None],
    ) -> None:
        self._kernel = kernel
        self._instruments = instruments
        self._groups = groups
        self._pairs = pairs
        self._wallets, self._breakers = risk.wallets, risk.breakers
        self._changed = changed
        self._numbers = {(i.venue, i.symbol): number for number, i in enumerate(instruments)}

    def apply(self, row: SlowRow, now: int) -> None:
        """Apply one row at a time in ns, its own or, of a PLACE, the time that it is already.

        Raises:
            LogError: an `instruments` row takes decimals away or turns the instrument into another thing, or a connection's number
                lies outside the table.
        """
        fold.begin_row(self._kernel.handle, row.seq, now)
        if row.kind == "instruments":
            self._apply_instrument(row)
        elif row.kind == "connections":
            self._apply_connection(row.seq, row.values)
        elif row.kind == "wallets":
            self._wallets.note(row.values)
        elif row.kind == "health":
            self._breakers.note(row.values)
        elif row.kind == "rejects":
            number = self._numbers.get((row.values["venue"] or "", row.values["symbol"] or ""))
            if number is not None:
                self._kernel.tables[state.INSTRUMENTS][number]["bad_rows"] += 1

    def _apply_connection(self, seq: int, values: dict[str, Any]) -> None:
        conn, known = int(values["conn"]), len(self._kernel.tables[state.CONNECTIONS])
        if not 0 <= conn < known:
            raise LogError(f"seq {seq}: connection {conn} is not among the {known} of the log")
        event = _CONNECTION_EVENTS.get(values["event"])
        if event is None:
            return  # a resync is shown by the snapshot rows that follow it
        number = -1 if values["symbol"] is None else self._numbers.get((values["venue"], values["symbol"]), -1)
        if values["symbol"] is not None and (number < 0 or self._instruments[number].kind == "pool"):
            return  # `Chains` follows pools
        fold.connection_row(self._kernel.handle, conn, number, event)

    def _apply_instrument(self, row: SlowRow) -> None:
        number = self._numbers[row.values["venue"], row.values["symbol"]]
        before = self._instruments[number]
        after = msgspec.structs.replace(before, **instrument_fields(row.values))
        if after == before:
            return
        _check_change(row.seq, before, after)
        self._instruments[number] = after
        record: Any = self._kernel.tables[state.INSTRUMENTS][number]
        price, quantity = 10 ** (after.px_scale - before.px_scale), 10 ** (after.qty_scale - before.qty_scale)
        if price != 1 or quantity != 1:
            if not self._fits(record, price, quantity):
                self._forget(number, record)
            self._rescale(record, price, quantity)
        self._changed(number, price, quantity)
        lay_steps(record, after)
        if price != 1:
            lay_mid_units(self._kernel, self._groups, self._instruments)
        thresholds: Any = self._kernel.tables[state.PAIRS]
        for at, (_, pair) in enumerate(self._pairs):
            if number in (pair.sell, pair.buy, pair.convert):
                lay_thresholds(thresholds[at], pair, self._instruments)

    def _fits(self, record: Any, price: int, quantity: int) -> bool:
        """Whether every stored price and quantity can grow by those factors."""
        largest = [(record["bid"], price), (record["ask"], price), (record["bid_qty"], quantity), (record["ask_qty"], quantity)]
        for side, count in enumerate((int(record["bids"]), int(record["asks"]))):
            if count > 0:
                start = (int(record["slot"]) * 2 + side) * state.BOOK_LEVELS
                for table, factor in ((state.BOOK_PX, price), (state.BOOK_QTY, quantity)):
                    largest.append((self._kernel.tables[table][start : start + count].max(), factor))
        return all(int(value) <= INT64_MAX // factor for value, factor in largest)

    def _forget(self, number: int, record: Any) -> None:
        """What the feed holds cannot be held at the finer scale: it leaves the state, and the feed is gapped until a sound row comes."""
        for field in ("bid", "ask", "bid_qty", "ask_qty"):
            record[field] = NULL
        record["mid"] = 0
        fold.connection_row(self._kernel.handle, int(record["conn"]), number, life.GAP)

    def _rescale(self, record: Any, price: int, quantity: int) -> None:
        """A finer scale: every stored price and quantity grows by a power of ten."""
        for field, factor in (("bid", price), ("ask", price), ("bid_qty", quantity), ("ask_qty", quantity)):
            if record[field] != NULL:
                record[field] *= factor
        if int(record["spreads"].max()) > INT64_MAX // price:
            record["spreads"] = record["spread_count"] = record["median_spread"] = 0
            record["spread_bound"] = INT64_MAX
        record["median_spread"] *= price
        record["spreads"] *= price
        slot = int(record["slot"])
        if slot >= 0:
            start, end = slot * 2 * state.BOOK_LEVELS, (slot + 1) * 2 * state.BOOK_LEVELS
            prices: Any = self._kernel.tables[state.BOOK_PX][start:end]
            prices *= price
            sizes: Any = self._kernel.tables[state.BOOK_QTY][start:end]
            sizes[sizes != NULL] *= quantity


def _check_change(seq: int, before: Instrument, after: Instrument) -> None:
    if after.px_scale < before.px_scale or after.qty_scale < before.qty_scale:
        raise LogError(f"seq {seq}: {before.id} would lose decimals; scales only grow")
    for name in _IDENTITY:
        if getattr(before, name) != getattr(after, name):
            was, now = getattr(before, name), getattr(after, name)
            raise LogError(f"seq {seq}: the {name} of {before.id} would turn from {was!r} into {now!r}; that is another instrument")
