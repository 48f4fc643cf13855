"""Random integers that are the same on every machine: raw words of PCG64 and integer arithmetic, no floats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np


class Draws:
    """Random integers from the raw words of PCG64; `name` gives each user a stream of its own."""

    def __init__(self, seed: int, name: str) -> None:
        words = np.frombuffer(hashlib.sha256(f"{seed} {name}".encode()).digest(), dtype="<u4")
        self._source = np.random.PCG64(words.tolist())
        self._words: Iterator[int] = iter(())

    def word(self) -> int:
        """64 random bits."""
        for found in self._words:
            return found
        self._words = iter(self._source.random_raw(1024).tolist())
        return next(self._words)

    def below(self, bound: int) -> int:
        """An integer from 0 to `bound` - 1."""
        return self.word() * bound >> 64

    def bell(self, deviation: int) -> int:
        """A bell-shaped integer around 0 with that standard deviation: the sum of four uniform ones."""
        word = self.word()
        total = (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48)
        return (total - 131_070) * deviation // 37_838

    def wait(self, mean: int) -> int:
        """A wait of that mean, mostly short and up to three times the mean: the square of a uniform number."""
        word = self.word() >> 32
        return 3 * mean * word * word >> 64
