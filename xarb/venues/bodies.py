"""The bodies of answers, bounded: whoever answers may send without end, or what unpacks to as much."""

from __future__ import annotations

from typing import Final

import aiohttp

REPLY_BYTES: Final = 64 << 20  # the largest list of markets has some 20 MiB
_PIECE_BYTES: Final = 1 << 16


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which no more than `REPLY_BYTES` are taken, unpacked: what is larger ends the connection, and has no body."""

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            aiohttp.ClientPayloadError: it is too large.
        """
        if self._body is None:
            try:
                self._body = await whole_body(self)
            except BaseException:  # as aiohttp does: whatever ends it, the connection is not used again
                self.close()
                raise
        return await super().read()


async def whole_body(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, piece by piece, which aiohttp proves to be as long as announced.

    Raises:
        aiohttp.ClientPayloadError: it is larger than `REPLY_BYTES`.
    """
    parts, size = [], 0
    async for part in response.content.iter_chunked(_PIECE_BYTES):
        parts.append(part)
        size += len(part)
        if size > REPLY_BYTES:
            raise aiohttp.ClientPayloadError(f"an answer of more than {REPLY_BYTES} bytes")
    return b"".join(parts)
