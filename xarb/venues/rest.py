"""A venue's public REST service: paced requests, told apart by whether an answer came, and rest when it is told."""

from __future__ import annotations

from typing import Final, NamedTuple

import aiohttp

from xarb.errors import Retryable
from xarb.venues.bodies import whole_body
from xarb.venues.pace import Pace
from xarb.wires.exchanges import SELDOM, Rate

SLOW_DOWN: Final = (418, 429)  # Binance answers 418 to those who go on after 429; everyone else 429
_REST_S: Final = 10.0  # pause where the venue does not say how long
_LONGEST_REST_S: Final = 3_600.0


class Answer(NamedTuple):
    """What came back: the status, and the whole body."""

    status: int
    body: bytes


class PublicRest:
    """Requests without keys to one venue.

    Args:
        http: the session that all venues share.
        base_url: what paths are appended to.
        rate: of paced requests, which are snapshots.
        timeout_s: for a whole request, seconds.
    """

    def __init__(self, http: aiohttp.ClientSession, base_url: str, *, rate: Rate = SELDOM, timeout_s: float = 10.0) -> None:
        self._http = http
        self.base_url = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._pace = Pace(*rate)

    async def fetch(self, path: str, *, method: str = "GET", paced: bool = True) -> Answer:
        """One request; after an answer that says so, all later ones wait as long as the venue wants.

        Raises:
            Retryable: no answer, or only a part of one.
        """
        if paced:
            await self._pace.wait()
        try:
            async with self._http.request(method, self.base_url + path, timeout=self._timeout) as response:
                body = await whole_body(response)
                if response.status in SLOW_DOWN:
                    self._pace.hold(retry_after(response.headers.get("Retry-After")))
                return Answer(response.status, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"{path}: {type(error).__name__} {error}") from None


def retry_after(text: str | None) -> float:
    """The seconds of a Retry-After header, within reason."""
    if text is None or not text.isascii() or not text.isdigit():
        return _REST_S
    return min(float(text[:9]), _LONGEST_REST_S)
