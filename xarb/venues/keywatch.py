"""Whether an exchange still takes an account's key: where it refuses a question for it, nothing new begins until a comparison went through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xarb.engine.breaker import KEY_REFUSALS
from xarb.errors import VenueError

REFUSED: Final = (
    "question_refused"  # 1: a question or a cancel was refused for the key, nothing new begins; 0: all was compared since
)


class KeyWatch:
    """What speaks against new orders of one account; an order that is refused for its key is the engine's matter (its breaker).

    Args:
        label: the account's.
        venue: where.
        reading: notes metric, value and detail.
    """

    def __init__(self, label: str, venue: str, reading: Callable[[str, int, str], None]) -> None:
        self._label, self._venue, self._reading = label, venue, reading
        self.objection: str | None = None

    def failed(self, error: VenueError) -> None:
        """A request for something other than a new order was refused, or not answered."""
        if error.reason in KEY_REFUSALS and self.objection is None:
            self.objection = f"{self._venue} refuses the key of {self._label}"
            self._reading(REFUSED, 1, f"{self.objection} ({error.reason})")

    def works(self) -> None:
        """Everything was asked for and answered."""
        if self.objection is not None:
            self.objection = None
            self._reading(REFUSED, 0, f"{self._label}: everything was compared")
