"""The contracts as their publishers ship them: bytecode, linked where libraries are asked for, and calls by signature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from eth_abi import decode, encode  # type: ignore[attr-defined]  # exported without a declaration
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from tests.chain.node import PACKAGES, Node

AAVE: Final = "@aave/core-v3/artifacts/contracts/"
BALANCER: Final = "@balancer-labs/v2-deployments/dist/tasks/"
V2: Final = "@uniswap/v2-core/build/"
V2_ROUTER: Final = "@uniswap/v2-periphery/build/"
V3: Final = "@uniswap/v3-core/artifacts/contracts/"
V3_PERIPHERY: Final = "@uniswap/v3-periphery/artifacts/contracts/"


def _types(signature: str) -> list[str]:
    """The types of a signature such as `f(uint256,(address,int24))`."""
    inner = signature[signature.index("(") + 1 : -1]
    types, depth, start = [], 0, 0
    for place, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            types.append(inner[start:place])
            start = place + 1
    return [*types, inner[start:]] if inner else []


@lru_cache(maxsize=256)
def selector(signature: str) -> bytes:
    """The first four bytes of a call."""
    return bytes(keccak(text=signature)[:4])


def call_data(signature: str, *values: Any) -> str:
    """A call as hex."""
    return "0x" + (selector(signature) + encode(_types(signature), values)).hex()


def read(node: Node, to: str, signature: str, *values: Any, returns: Sequence[str]) -> tuple[Any, ...]:
    """What a call would return."""
    data = node.call("eth_call", {"to": to, "data": call_data(signature, *values)}, "latest")
    return tuple(decode(list(returns), bytes.fromhex(data[2:])))


@lru_cache(maxsize=64)
def _artifact(path: str) -> dict[str, Any]:
    return dict(json.loads((PACKAGES / path).read_text()))


def bytecode(path: str, libraries: Mapping[str, str] | None = None) -> str:
    """Creation code, with the addresses of libraries in their places."""
    artifact = _artifact(path)
    code = artifact["bytecode"]
    text = str(code["object"] if isinstance(code, dict) else code)
    text = text.removeprefix("0x")
    for by_name in (artifact.get("linkReferences") or {}).values():
        for name, places in by_name.items():
            for place in places:
                at = 2 * place["start"]
                text = text[:at] + (libraries or {})[name][2:].lower() + text[at + 40 :]
    return "0x" + text


def deploy(node: Node, sender: str, code: str, types: Sequence[str] = (), values: Sequence[Any] = ()) -> str:
    """Put a contract on the chain; its address."""
    receipt = node.transact(sender, None, code + encode(list(types), list(values)).hex())
    return str(to_checksum_address(receipt["contractAddress"]))
