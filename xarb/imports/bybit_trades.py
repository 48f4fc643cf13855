"""Trades of Bybit's public archive: a day or a month of one instrument as CSV, in gzip.

Two layouts, told apart by the header (files of `public.bybit.com`, 2019 to 2026): contracts, in `trading/`, with times in decimal seconds and the
exchange's trade ids; and spot, in `spot/`, with times in ms and an `id` that counts the rows of the file, which is no id of a trade. A column that
says whether a retail order was matched (`RPI`) came in 2025. `side` is the taker's. Sizes are in the base asset, of inverse contracts in contracts.
No file has a receive time: `time_rule` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.imports.trades_csv import Layout, TradeReader, refuse_header
from xarb.wires.bybit import VENUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.events import WireEvent

_CONTRACTS: Final = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
_SPOT: Final = "id,timestamp,price,volume,side"
_LAYOUTS: Final = {
    _CONTRACTS: Layout(10, "s", time=0, side=2, price=4, qty=3, trade_id=6, native=1, worth=9),
    f"{_CONTRACTS},RPI": Layout(11, "s", time=0, side=2, price=4, qty=3, trade_id=6, native=1, worth=9),
    _SPOT: Layout(5, "ms", time=1, side=4, price=2, qty=3, trade_id=None, native=None),
    f"{_SPOT},rpi": Layout(6, "ms", time=1, side=4, price=2, qty=3, trade_id=None, native=None),
}


class Reader:
    """Reads the files of one stream of trades."""

    def __init__(self, source: Source, tape: Tape) -> None:
        if source.venue not in VENUES.values():
            raise ConfigError(f"{source.name}: venue {source.venue!r} is none of Bybit's; allowed: {', '.join(VENUES.values())}")
        self._trades = TradeReader(source, tape, _layout)

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with the receive times that the rule makes.

        Raises:
            ConfigError: the file cannot be used, its header is of no layout that is read, or of another market than `venue`.
        """
        return self._trades.read(source)


def _layout(source: Source, raw: bytes) -> Layout:
    layout = _LAYOUTS.get(raw.decode("utf-8", "backslashreplace"))
    if layout is None:
        raise refuse_header(source, raw, "Bybit's archive of trades")
    is_spot = layout.native is None
    if is_spot != (source.venue == VENUES["spot"]):
        of = "spot" if is_spot else "contracts"
        raise ConfigError(f"{source.name}: line 1 is the header of {of}, which are not traded on venue {source.venue!r}")
    return layout
