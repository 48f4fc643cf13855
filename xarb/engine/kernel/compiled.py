"""The one decorator of the kernel's functions: compiled by numba, cached on disk, without the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile on first call. Division by zero gives zero instead of raising: no rule divides by a value that can be zero."""
    wrapped: Function = njit(function, cache=True, error_model="numpy", nogil=True)
    return wrapped


def inlined(function: Function) -> Function:
    """As `compiled`, and pasted into its callers: worth it for small functions on the path of every event."""
    wrapped: Function = njit(function, cache=True, error_model="numpy", nogil=True, inline="always")
    return wrapped
