"""The daily summary: how a log stands, in a few lines for a person."""

from __future__ import annotations

from collections.abc import Sequence

from xarb.console import utc
from xarb.model.units import NANOS_PER_S
from xarb.watch.rules import Condition, Place, money
from xarb.watch.state import Watched

_HOUR_NS = 3_600 * NANOS_PER_S
_DIGITS = 32


def summary(name: str, state: Watched, place: Place, found: Sequence[Condition], *, head: str | None) -> str:
    """A few lines; money exact, in the currency that is named.

    Of `head`, the digest of the last line of the manifest, half is shown: enough for `xarb log verify --had`, and no private key by its looks.
    """
    free = "unknown" if place.disk_free is None else f"{place.disk_free // 10**9} GB"
    lines = [f"xarb {name}, {utc(place.now)}", f"rows {sum(state.rows.values())}, disk free {free}"]
    trading, course = state.trading, state.course
    if trading.number:
        armed = "armed" if trading.armed else "not armed"
        hours = (place.now - trading.since) // _HOUR_NS
        lines.append(f"start {trading.number} ({trading.mode}), {armed}, since {utc(trading.since)}, {hours} h")
        lines.append(
            f"opportunities {trading.opportunities}, taken {trading.decided['taken']}, fills {sum(trading.fills.values())}"
        )
        for currency in course.currencies:
            today, gained = course.gained_today(currency), course.gained(currency)
            shown = ["unknown: an asset has no price" if one is None else f"{money(one)} {currency}" for one in (today, gained)]
            lines.append(f"trading PnL today {shown[0]}, since the start {shown[1]}")
        lines.append("orders " + (", ".join(f"{word} {count}" for word, count in sorted(trading.orders.items())) or "none"))
    lines.append(f"digest {'unknown' if head is None else head[:_DIGITS]}")
    lines.append(f"gaps {sum(state.gaps.values())}, rejects {sum(state.rejects.values())}")
    lines += [f"now: {one.rule} {one.subject} {one.text}".replace("  ", " ") for one in found] or ["nothing is wrong now"]
    return "\n".join(lines)
