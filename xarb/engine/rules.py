"""What a rule looks at, and what it says when it is broken."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from xarb.engine.strategy import BestQuote, FeedView
from xarb.model.instrument import Instrument


class Market(Protocol):
    """What risk and execution look at; everything is as of now."""

    @property
    def now(self) -> int:
        """Engine time, ns."""

    def instrument(self, number: int) -> Instrument:
        """The instrument as it is known now."""

    def best(self, number: int) -> BestQuote:
        """Best quote."""

    def confirmed(self, number: int) -> int | None:
        """When the quote was last confirmed, ns; None while the feed is not tradable."""

    def feed(self, number: int) -> FeedView:
        """State and score of its feed."""


class Refusal(NamedTuple):
    """Why something is not sent: value and bound as money where the rule has them, times in seconds."""

    reason: str
    instrument: int = -1
    value: int | None = None
    bound: int | None = None
