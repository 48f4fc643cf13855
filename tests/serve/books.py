"""A client's own book of what is served: levels by price, as our decoder tells them."""

from __future__ import annotations

from xarb.wires.events import DepthEvent

Sides = tuple[dict[int, int], dict[int, int]]


def applied(sides: Sides, event: DepthEvent) -> Sides:
    """The book after a snapshot or a difference; a difference is applied in place."""
    if event.is_snapshot:
        sides = ({}, {})
    for side, (prices, qtys) in enumerate(((event.bids, event.bid_qtys), (event.asks, event.ask_qtys))):
        for price, qty in zip(prices, qtys, strict=True):
            sides[side].pop(price, None)
            if qty:
                sides[side][price] = qty
    return sides
