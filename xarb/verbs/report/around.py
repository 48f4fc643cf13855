"""The quotes of a trade's markets around its decision, with its fills: a small plot in its panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.chain import Row
from xarb.inquiry.course import Market
from xarb.inquiry.decided import Decided
from xarb.inquiry.moment import Moment
from xarb.model.units import MONEY_ONE, NANOS_PER_S
from xarb.sql.pick import read
from xarb.sql.views import text
from xarb.verbs.report.drawing import shown

BEFORE_NS: Final = 2 * NANOS_PER_S
AFTER_NS: Final = NANOS_PER_S  # after the last fill
_LONGEST_NS: Final = 10 * NANOS_PER_S
POINTS: Final = 40  # quotes of a market in one plot, evenly chosen


Top = tuple[int, float | None, float | None]  # ts_recv, bid, ask


class Window(NamedTuple):
    """What is looked at for one bundle: its markets, from when to when, and when it was decided (ns)."""

    markets: tuple[Market, ...]
    since: int
    decided: int
    until: int


def window_of(ts: int, markets: Sequence[Market], fills: Sequence[Row]) -> Window:
    """From two seconds before the decision to one after the last fill, ten seconds after the decision at most."""
    last = max([ts, *(row["ts"] for row in fills)])
    traded = [(row["venue"], row["symbol"]) for row in fills]
    return Window(tuple(dict.fromkeys([*markets, *traded])), ts - BEFORE_NS, ts, min(last + AFTER_NS, ts + _LONGEST_NS))


def quotes(decided: Decided, windows: Mapping[int, Window]) -> dict[int, dict[Market, list[Top]]]:
    """By bundle and market: ts_recv, bid and ask of the best prices that quotes and whole books tell.

    Raises:
        LogError: a file is damaged.
    """
    rows = [
        f"({number}, {text(venue)}, {text(symbol)}, {one.since}, {one.until})"
        for number, one in windows.items()
        for venue, symbol in one.markets
    ]
    if not rows:
        return {}
    first, last = min(one.since for one in windows.values()), max(one.until for one in windows.values())
    bound = "" if decided.span is None else f" AND seq BETWEEN {decided.span.first} AND {decided.span.last}"
    sql = f"""WITH given(bundle, venue, symbol, since, until) AS (VALUES {", ".join(rows)}),
        w AS (SELECT *, unnest(range(since // {NANOS_PER_S}, until // {NANOS_PER_S} + 1)) AS second FROM given),  -- joins by equality, not by range
        found AS (SELECT bundle, venue, symbol, seq, ts_recv, bid, ask, row_number() OVER mine AS number, count(*) OVER (PARTITION BY bundle, venue, symbol) AS many
            FROM (SELECT *, ts_recv // {NANOS_PER_S} AS second FROM tops WHERE ts_recv BETWEEN {first} AND {last}{bound})
                JOIN w USING (venue, symbol, second)
            WHERE ts_recv BETWEEN since AND until WINDOW mine AS (PARTITION BY bundle, venue, symbol ORDER BY seq))
        SELECT bundle, venue, symbol, ts_recv, bid, ask FROM found WHERE (number - 1) % greatest(1, (many + {POINTS - 1}) // {POINTS}) = 0
        ORDER BY bundle, venue, symbol, seq"""
    found: dict[int, dict[Market, list[Top]]] = {}
    for number, venue, symbol, ts, bid, ask in read(decided.inputs, sql):
        found.setdefault(number, {}).setdefault((venue, symbol), []).append((ts, bid, ask))
    return found


def plotted(
    window: Window, told: Mapping[Market, Sequence[Top]], moment: Moment | None, fills: Sequence[Row]
) -> dict[str, Any] | None:
    """The plot as the page takes it: ms since the decision, prices as floats; None where no quote is known.

    Of a book that is told by its changes there are no rows of best prices: what the strategy saw at the decision stands for it.
    """
    told = {**(_at_decision(window, moment) if moment is not None else {}), **told}
    if not told:
        return None
    markets = [
        {
            "name": shown(f"{symbol}@{venue}"),
            "t": [_ms(ts, window) for ts, _, _ in rows],
            "bid": [bid for _, bid, _ in rows],
            "ask": [ask for _, _, ask in rows],
        }
        for (venue, symbol), rows in told.items()
    ]
    done = [
        {
            "t": _ms(row["ts"], window),
            "price": row["price"] / MONEY_ONE,
            "side": row["side"],
            "text": shown(f"{row['purpose']} {row['side']} {row['qty'] / MONEY_ONE:g} {row['symbol']}@{row['venue']}"),
        }
        for row in fills
    ]
    return {"markets": markets, "fills": done}


def _at_decision(window: Window, moment: Moment) -> dict[Market, Sequence[Top]]:
    found: dict[Market, Sequence[Top]] = {}
    for one in moment.seen:
        scale = 10**one.instrument.px_scale
        sides = [None if price is None else price / scale for price in (one.quote.bid, one.quote.ask)]
        if any(side is not None for side in sides):
            found[one.instrument.venue, one.instrument.symbol] = [(window.decided, sides[0], sides[1])]
    return found


def _ms(ts: int, window: Window) -> float:
    return round((ts - window.decided) / 1e6, 3)
