"""The countdown of an account at an exchange that cancels everything of the account when it does not hear from us in time.

It is set anew four times as often as it lasts. From the moment at which it may have run out (by our clocks, reckoned from before the last
request that the exchange confirmed) nothing is taken for known: what rests is of unknown fate, and nothing new begins until the account was
compared with the exchange and the countdown runs again. Each change of its state is a reading in the log.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from xarb.errors import Rejected, Retryable
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S

RUNS: Final = "cancel_after_ms"  # how long the exchange waits for us; 0: it does not, or may have run out
FAILED: Final = "cancel_after_failed"  # 1: it could not be set anew; 0: it could again
PARTS: Final = 4  # it is set anew in this part of its length
TOLD_S: Final = 60.0  # that it runs is told so often
APART_S: Final = 1.1  # OKX takes one request a second
SLOWEST_S: Final = 15.0  # pause between tries to make it run again
_SLACK_NS: Final = NANOS_PER_S  # exchanges reckon it in whole seconds
_OFF_TRIES: Final = 3


class Keeper(Protocol):
    """Whose countdown it is: what has to be known and done of one account."""

    def reading(self, metric: str, value: int, detail: str) -> None:
        """Note a reading."""

    def doubt(self, why: str) -> None:
        """Take what rests there for being of unknown fate, and look it up."""

    async def reconcile(self) -> None:
        """Compare the account with the exchange.

        Raises:
            Retryable, Rejected: it did not tell.
        """


class Asked(Protocol):
    """The account, as far as it matters here."""

    label: str

    def now(self) -> int:
        """Monotonic ns."""

    def wall(self) -> int:
        """Unix ns."""

    async def cancel_after(self, timeout_ms: int) -> None:
        """Set the countdown, or switch it off with 0.

        Raises:
            Retryable, Rejected: it was not set, as far as is known.
        """


class Countdown:
    """One account's countdown.

    Args:
        account: asks for it.
        timeout_ms: how long it is.
        keeper: whose it is.

    Attributes:
        objection: what speaks against new orders; None while it runs.
        was_asked: the exchange was asked for it, so that it may run there.
    """

    def __init__(self, account: Asked, timeout_ms: int, keeper: Keeper) -> None:
        self.objection: str | None = f"the countdown of {account.label} is not set yet"
        self.was_asked = False
        self._account, self._timeout_ms, self._keeper = account, timeout_ms, keeper
        self._every_s = timeout_ms / 1000 / PARTS
        self._set_at: tuple[int, int] | None = None  # monotonic and Unix ns, from before the last request that was confirmed
        self._told_at: int | None = None  # when it was told that it runs
        self._failed = False  # told that it could not be set anew
        self._lock = asyncio.Lock()
        self._over = asyncio.Event()

    async def begin(self) -> None:
        """Set it for the first time.

        Raises:
            Retryable, Rejected: it could not be.
        """
        await self._set(self._every_s)
        self.objection = None

    async def run(self) -> None:
        """Tell that it runs, and keep it so until `stop` or `switch_off`."""
        if self.objection is None and self._left_s() > 0:
            self._tell_runs("set")
        since_s = 0.0 if self._set_at is None else self._age_ns() / NANOS_PER_S
        pause = max(self._every_s - since_s, 0.0)  # a start may have taken long
        while not await self._is_over_within(pause):
            async with self._lock:
                if self._over.is_set():
                    return
                if self.objection is not None or self._left_s() <= 0:
                    works = await self._set_again()
                    pause = self._every_s if works else min(max(2 * pause, APART_S), SLOWEST_S)
                else:
                    works = await self._set_anew()
                    pause = self._every_s if works else min(APART_S, self._every_s)
                if not works and self.objection is None:
                    pause = min(pause, max(self._left_s(), 0.0))

    def stop(self) -> None:
        """Let it be: it goes on at the exchange, and cancels what rests there."""
        self._over.set()

    async def switch_off(self) -> None:
        """Have the exchange wait for us no more; a reading tells whether it is so."""
        self._over.set()
        async with self._lock:
            why: Exception | None = None
            wait_s = APART_S if self._set_at is not None and self._age_ns() < APART_S * NANOS_PER_S else 0.0
            for _ in range(_OFF_TRIES):
                await asyncio.sleep(wait_s)
                wait_s = APART_S
                try:
                    async with asyncio.timeout(self._every_s):
                        await self._account.cancel_after(0)
                except (Retryable, Rejected, TimeoutError) as error:
                    why = error
                else:
                    self._keeper.reading(RUNS, 0, f"{self._account.label}: switched off, nothing of ours is open")
                    return
        self._keeper.reading(
            FAILED, 1, f"{self._account.label}: not switched off: {_words(why)}; what rests there will be canceled"
        )

    # --- inside

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _set(self, within_s: float) -> None:
        """Set it; a request that takes too long has failed.

        Raises:
            Retryable, Rejected: it was not, as far as is known.
        """
        self.was_asked, before = True, (self._account.now(), self._account.wall())
        try:
            async with asyncio.timeout(within_s):
                await self._account.cancel_after(self._timeout_ms)
        except TimeoutError:
            raise Retryable(f"no answer within {within_s:.1f} s", reason="timeout") from None
        self._set_at = before

    async def _set_anew(self) -> bool:
        """Set it while it runs; whether that was confirmed."""
        try:
            await self._set(min(self._every_s, max(self._left_s(), 0.001)))
        except (Retryable, Rejected) as error:
            if not self._failed:
                self._failed = True
                self._keeper.reading(FAILED, 1, f"{self._account.label}: it runs out in {self._left_s():.1f} s: {_words(error)}")
            return False
        self._works("set anew")
        return True

    async def _set_again(self) -> bool:
        """It may have run out: find out what became of everything, then set it; whether both were done."""
        if self.objection is None:
            self._lapse()
        try:
            await self._keeper.reconcile()
            await self._set(self._every_s)
        except (Retryable, Rejected) as error:
            if not self._failed:
                self._failed = True
                self._keeper.reading(FAILED, 1, f"{self._account.label}: it does not run: {_words(error)}")
            return False
        self.objection = None
        self._works("set again, after everything was compared with the exchange")
        return True

    def _lapse(self) -> None:
        label, self._told_at = self._account.label, None
        self.objection = f"the countdown of {label} may have run out and canceled its orders"
        self._keeper.doubt(self.objection)
        self._keeper.reading(RUNS, 0, f"{label}: it may have run out; what rested there is looked up")

    def _works(self, how: str) -> None:
        if self._failed:
            self._failed = False
            self._keeper.reading(FAILED, 0, f"{self._account.label}: {how}")
        if self._told_at is None or self._account.now() - self._told_at >= TOLD_S * NANOS_PER_S:
            self._tell_runs(how)

    def _tell_runs(self, how: str) -> None:
        self._told_at = self._account.now()
        self._keeper.reading(RUNS, self._timeout_ms, f"{self._account.label}: {how}")

    def _age_ns(self) -> int:
        """Time since the last request that was confirmed, by the clock that says more: one of them stands while a machine sleeps."""
        assert self._set_at is not None
        return max(self._account.now() - self._set_at[0], self._account.wall() - self._set_at[1])

    def _left_s(self) -> float:
        """Seconds until it may have run out."""
        if self._set_at is None:
            return 0.0
        return (self._timeout_ms * NANOS_PER_MS - _SLACK_NS - self._age_ns()) / NANOS_PER_S


def _words(error: Exception | None) -> str:
    return str(error) or type(error).__name__
