"""Whether a token gives whoever it is sent to all of it, asked of the chain by transfers that never happen.

A token that takes a fee on transfer breaks every quote. `eth_simulateV1` runs calls one after the other in the name of anybody: the pool sends some
of its own tokens to a stranger, who sends half of it back, and balances tell what arrived. Nothing needs to be known of the token's storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.errors import Rejected
from xarb.venues.dex.reading import Node, ask, call_data
from xarb.wires.chains import Pool
from xarb.wires.node import BadAnswer, Header, bytes_of, number_of

_STRANGER: Final = "0x" + "5a" * 20  # nobody: it needs no key
_SHARE: Final = 1000  # of what the pool holds, that part is sent
_PPM: Final = 10**6


class Verdict(NamedTuple):
    """What transfers of a token from and to a pool do.

    Attributes:
        why: what was found, or why nothing could be.
        is_exact: what is sent arrives; None: it could not be asked.
    """

    why: str
    is_exact: bool | None = None


async def verdicts_of(node: Node, pools: Sequence[Pool], block: Header) -> dict[tuple[str, str], Verdict]:
    """By pool and token what a transfer does, as of a block.

    Raises:
        BadAnswer: what the node says is no answer. Retryable: it gives none.
    """
    found: dict[tuple[str, str], Verdict] = {}
    for pool in pools:
        for token in (pool.token0, pool.token1):
            (held,) = await ask(node, [(token, "balanceOf(address)", (pool.address,))], ["uint256"], block)
            found[pool.address, token] = await _verdict(node, token, pool.address, held, block)
    return found


async def _verdict(node: Node, token: str, pool: str, held: int, block: Header) -> Verdict:
    amount = held // _SHARE
    if amount < 2:
        return Verdict("not known: the pool holds next to none")
    back = amount // 2
    steps = [
        (pool, call_data("balanceOf(address)", _STRANGER)),
        (pool, call_data("transfer(address,uint256)", _STRANGER, amount)),
        (pool, call_data("balanceOf(address)", _STRANGER)),
        (pool, call_data("balanceOf(address)", pool)),
        (_STRANGER, call_data("transfer(address,uint256)", pool, back)),
        (pool, call_data("balanceOf(address)", pool)),
    ]
    calls = [{"from": sender, "to": token, "data": data} for sender, data in steps]
    try:
        said = await node.call("eth_simulateV1", {"blockStateCalls": [{"calls": calls}]}, hex(block.number))
    except Rejected as error:
        return Verdict(f"not known: the node does not simulate ({error})")
    done = _calls_of(said, len(calls))
    if not all(worked for worked, _ in done):
        return Verdict("a transfer reverts", is_exact=False)
    before, _, after, pool_before, _, pool_after = (int.from_bytes(raw[:32], "big") for _, raw in done)
    for way, sent, arrived in (("from", amount, after - before), ("to", back, pool_after - pool_before)):
        if arrived != sent:
            return Verdict(f"of a transfer {way} the pool {(sent - arrived) * _PPM // sent} ppm do not arrive", is_exact=False)
    return Verdict("what is sent arrives", is_exact=True)


def _calls_of(said: Any, count: int) -> list[tuple[bool, bytes]]:
    """Whether each call worked, and what it returned.

    Raises:
        BadAnswer: it is no simulation of so many calls.
    """
    if not isinstance(said, list) or len(said) != 1 or not isinstance(said[0], Mapping):
        raise BadAnswer(f"a simulation is {said!r:.200}")
    calls = said[0].get("calls")
    if not isinstance(calls, list) or len(calls) != count:
        raise BadAnswer(f"a simulation of {count} calls tells {calls!r:.200}")
    return [(number_of(one.get("status")) == 1, bytes_of(one.get("returnData"))) for one in calls]
