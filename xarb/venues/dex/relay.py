"""A relay that takes bundles and shows them to builders alone: `eth_callBundle` and `eth_sendBundle`, signed as Flashbots has it.

What such a relay takes is included whole and in order in the named block, or not at all; a revert is left out, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
from eth_utils.crypto import keccak

from xarb.errors import ConfigError, OutcomeUnknown, Rejected, Retryable
from xarb.venues.keys import Redactor

_ANSWER_BYTES: Final = 1 << 20
_SIGNATURE: Final = "X-Flashbots-Signature"
_HERE: Final = ("127.0.0.1", "::1", "localhost")


class TextSigner(Protocol):
    """Signs texts: who a relay knows us as, best another key than the one that has the money."""

    @property
    def address(self) -> str:
        """Its address."""

    async def sign_text(self, text: str) -> str:
        """A signature of a text (EIP-191), as hex with 0x."""


class Simulated(NamedTuple):
    """What a bundle would come to: its gas, and why it fails; None: it does not."""

    gas_used: int
    failure: str | None


class Relay:
    """Requests to one relay.

    Args:
        url: its address: https, or http on loopback.
        http: makes the requests.
        signer: who we are there.
        timeout_s: of a request.
    """

    def __init__(self, url: str, http: aiohttp.ClientSession, signer: TextSigner, *, timeout_s: float) -> None:
        self.shown = shown(url)
        self._url, self._http, self._signer = url, http, signer
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def simulate(self, raws: Sequence[bytes], block: int) -> Simulated:
        """What a bundle would come to in a block, on top of the latest one.

        Raises:
            Retryable: the relay did not say. Rejected: it refuses to.
        """
        try:
            said = await self._ask("eth_callBundle", {**_bundle(raws, block), "stateBlockNumber": "latest"})
        except OutcomeUnknown as error:  # nothing happens by it
            raise Retryable(str(error), reason=error.reason) from None
        results = said.get("results")
        if not isinstance(results, list) or len(results) != len(raws) or not all(isinstance(one, dict) for one in results):
            raise Retryable(f"{self.shown}: eth_callBundle: {len(raws)} transactions, and other results", reason="bad_answer")
        failures = [str(one.get("revert") or one["error"])[:200] for one in results if one.get("error") or one.get("revert")]
        gas = said.get("totalGasUsed")
        if not isinstance(gas, int):
            raise Retryable(f"{self.shown}: eth_callBundle: no gas", reason="bad_answer")
        return Simulated(gas, failures[0] if failures else None)

    async def send(self, raws: Sequence[bytes], block: int, *, until_s: int | None = None) -> str:
        """Ask for a bundle's inclusion in a block, at a block time of `until_s` at the latest; the bundle's hash.

        Raises:
            Retryable: it did not leave. Rejected: the relay refuses. OutcomeUnknown: it may have it.
        """
        wish = _bundle(raws, block)
        if until_s is not None:
            wish["maxTimestamp"] = until_s
        said = await self._ask("eth_sendBundle", wish)
        found = said.get("bundleHash")
        if not isinstance(found, str):
            raise OutcomeUnknown(f"{self.shown}: eth_sendBundle: no hash of the bundle", reason="bad_answer")
        return found

    async def _ask(self, method: str, wish: dict[str, Any]) -> dict[str, Any]:
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": [wish]})
        signed = await self._signer.sign_text("0x" + keccak(body).hex())
        headers = {"Content-Type": "application/json", _SIGNATURE: f"{self._signer.address}:{signed}"}
        try:
            async with self._http.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as reply:
                text, status = b"", reply.status
                async for part in reply.content.iter_chunked(1 << 16):
                    text += part
                    if len(text) > _ANSWER_BYTES:
                        break
        except aiohttp.ClientConnectorError as error:
            raise Retryable(f"{self.shown}: {type(error).__name__}", reason="unreachable") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OutcomeUnknown(f"{self.shown}: {method}: {type(error).__name__}", reason="no_answer") from None
        try:
            said = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            said = None
        answer: dict[str, Any] = said if isinstance(said, dict) else {}
        if isinstance(result := answer.get("result"), dict):
            return result
        if (refusal := answer.get("error")) is not None:
            words = refusal.get("message") if isinstance(refusal, dict) else refusal
            raise Rejected(f"{self.shown}: {method}: {Redactor()(str(words))[:300]}", reason="relay_refused")
        if status in (429, 503):
            raise Retryable(f"{self.shown}: {method}: status {status}", reason="busy")
        raise OutcomeUnknown(f"{self.shown}: {method}: status {status} and no answer", reason="bad_answer")


def _bundle(raws: Sequence[bytes], block: int) -> dict[str, Any]:
    return {"txs": ["0x" + raw.hex() for raw in raws], "blockNumber": hex(block)}


def shown(url: str) -> str:
    """A relay's address for logs, without what may be secret in it.

    Raises:
        ConfigError: it is not https, and not on loopback: what is sent there could be read and used by others on the way.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise ConfigError(f"relay {parts.scheme}://{parts.hostname}: allowed are https addresses, and http on this machine")
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
