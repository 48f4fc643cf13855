"""Makes bytes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

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


def mutated(data: bytes, corpus: Sequence[bytes], random: Random) -> bytes:
    """The bytes after one to four changes: cut, flipped, replaced, repeated, spliced with another of the corpus."""
    for _ in range(random.randint(1, 4)):
        first, last = sorted(random.randrange(len(data) + 1) for _ in range(2))
        last = min(last, first + random.choice((1, 4, 30, len(data))))
        match random.randrange(7):
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
