"""Whether a session may send bundles: armed once everything speaks, disarmed while something speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xarb.engine.liverows import ARM, DISARM


class Arming:
    """Writes the operator rows `arm` and `disarm` of a session.

    Args:
        act: takes action, actor and detail.
    """

    def __init__(self, act: Callable[[str, str, str], None]) -> None:
        self._act = act
        self._has_begun = self._is_held = self._is_over = False

    def begin(self) -> None:
        """Arm for the first time."""
        if not self._is_over:
            self._has_begun = True
            self._act(ARM, "start", "every market speaks")

    def end(self) -> None:
        """The session is being stopped: nothing arms it any more."""
        self._is_over = True

    def judge(self, objections: Sequence[str]) -> None:
        """Disarm when something speaks against trading, and arm again when nothing does; before `begin` and after `end` do nothing."""
        if not self._has_begun or self._is_over or bool(objections) == self._is_held:
            return
        self._is_held = bool(objections)
        if self._is_held:
            self._act(DISARM, "session", "; ".join(objections))
        else:
            self._act(ARM, "session", "nothing speaks against it any more")
