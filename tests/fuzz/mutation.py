"""Makes bytes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

_NASTY: Final = (
    *(
        b"",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b'"',
        b"'",
        b"\\",
        b"\n",
        b",",
        b"=",
        b"null",
        b"true",
        b"NaN",
        b"-0",
        b"1e999",
        b"0x1",
    ),
    *(b"-1", b"9" * 400, b"9" * 5000, b"0." + b"0" * 40 + b"1", b"9223372036854775808", b"1e-400", b"[" * 2000, b'{"a":' * 1500),
    *(
        b"\xf0\x9f\x92\xa9",
        b"\xe2\x80\xae",
        b"A" * 70_000,
        b"18446744073709551616",
        b"Infinity",
        b"1_000",
        b"\xd9\xa1\xd9\xa2",
        b'""',
    ),
)


_NODES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 1.5, 2**63, 10**30, -1e300, 1e-300),
    *("", "x", "0", "-0", "-1", "1e999", "1e-999", "NaN", "Infinity", "1_0", "9" * 5000, "\u0661", "\ud800", "a\x00b"),
    *([], {}, [[]], [None], [1], ["x"], [{}], {"": None}, {"a": {"b": []}}),
)


def mutated(data: bytes, corpus: Sequence[bytes], random: Random) -> bytes:
    """The bytes after one to four changes: cut, flipped, replaced, repeated, spliced with another of the corpus."""
    for _ in range(random.randint(1, 4)):
        first, last = sorted(random.randrange(len(data) + 1) for _ in range(2))
        last = min(last, first + random.choice((1, 4, 30, len(data))))
        match random.randrange(9):
            case 0:
                data = data[:first]
            case 1:
                data = data[:first] + data[last:]
            case 2:
                data = data[:last] + data[first:last] * random.choice((1, 2, 50)) + data[last:]
            case 3 if data:
                place = random.randrange(len(data))
                data = data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
            case 4:
                other = random.choice(corpus)
                data = data[:first] + other[random.randrange(len(other) + 1) :]
            case 5:
                data = _token_replaced(data, random)
            case 6 | 7:
                data = _node_replaced(data, random)
            case _:
                data = data[:first] + random.choice(_NASTY) + data[last:]
    return data[: 1 << 20]


def _token_replaced(data: bytes, random: Random) -> bytes:
    """A value between delimiters made another one."""
    ends = [place for place, byte in enumerate(data) if byte in b',:[]{}"= \n']
    if len(ends) < 2:
        return data
    at = random.randrange(len(ends) - 1)
    return data[: ends[at] + 1] + random.choice(_NASTY) + data[ends[at + 1] :]


def _node_replaced(data: bytes, random: Random) -> bytes:
    """One part of a JSON text made another, removed, or written twice; what stands before the text stays."""
    at = min((place for place in (data.find(b"{"), data.find(b"[")) if place >= 0), default=-1)
    try:
        tree = json.loads(data[at:]) if at >= 0 else None
    except (ValueError, RecursionError):
        return data
    places = list(_places(tree))
    if not places:
        return data
    home, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del home[key]
        case 1:
            home[key] = [home[key], home[key]]
        case 2:
            home[key] = str(home[key])
        case _:
            home[key] = random.choice(_NODES)
    return data[:at] + json.dumps(tree, separators=(",", ":")).encode()


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every part of a tree by what holds it and under which key."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        found += [(part, key) for key in keys]
        waiting += [part[key] for key in keys]
    return found
