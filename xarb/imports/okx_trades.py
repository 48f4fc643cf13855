"""Trades of OKX's public archive, single and aggregated: a day or a month as CSV, in a zip.

One layout in several dresses (files of `www.okx.com/cdn/okex/traderecords`, 2021 to 2026), told apart by the names of the columns: today's names the
instrument and may have a `source` (1 is a retail order); older ones name it only in the name of the file and have headers such as `size/数量`, in GBK or
UTF-8, of which the part before the stroke counts; those before 2022 have no header. `side` is the taker's, times are ms, an aggregate is one row with one
id. Sizes of spot are in the base asset, all others in contracts, as the exchange writes them. No file has a receive time: `time_rule` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.imports.trades_csv import Layout, TradeReader, refuse_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.events import WireEvent

VENUE: Final = "okx"
_NEEDED: Final = frozenset({"trade_id", "side", "size", "price", "created_time"})
_FURTHER: Final = frozenset({"instrument_name", "source"})
_BEFORE_2022: Final = Layout(5, "ms", time=4, side=1, price=3, qty=2, trade_id=0, native=None, is_headed=False)


class Reader:
    """Reads the files of one stream of trades."""

    def __init__(self, source: Source, tape: Tape) -> None:
        if source.venue != VENUE:
            raise ConfigError(f"{source.name}: venue {source.venue!r} is not OKX's; allowed: {VENUE}")
        self._trades = TradeReader(source, tape, _layout)

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with the receive times that the rule makes.

        Raises:
            ConfigError: the file cannot be used, or its first line is of no layout that is read.
        """
        return self._trades.read(source)


def _layout(source: Source, raw: bytes) -> Layout:
    cells = raw.split(b",")
    if len(cells) == _BEFORE_2022.width and cells[1] in {b"buy", b"sell"} and cells[0].isdigit() and cells[4].isdigit():
        return _BEFORE_2022
    names = [
        cell.split(b"/")[0].decode("ascii", "backslashreplace") for cell in cells
    ]  # no byte of a GBK character is a comma or a stroke
    if len(set(names)) != len(names) or not _NEEDED <= set(names) <= _NEEDED | _FURTHER:
        raise refuse_header(source, raw, "OKX's archive of trades")
    place = {name: at for at, name in enumerate(names)}
    return Layout(
        len(names),
        "ms",
        time=place["created_time"],
        side=place["side"],
        price=place["price"],
        qty=place["size"],
        trade_id=place["trade_id"],
        native=place.get("instrument_name"),
    )
