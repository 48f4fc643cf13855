"""Who may speak to what listens on loopback: nobody from outside can, but a page in a browser of this machine can try."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

HOST: Final = "127.0.0.1"
NAMES: Final = (HOST, "localhost")


def is_for_us(headers: Mapping[str, str], names: Collection[str] = NAMES) -> bool:
    """Whether a request names this machine, and comes from no page of another.

    A page whose name was made to resolve to 127.0.0.1 sends its own name as `Host`; one that opens a socket here tells its `Origin`.

    Args:
        headers: of the request, whatever the case of their names.
        names: hosts that stand for this machine.
    """
    host, origin = headers.get("Host"), headers.get("Origin")
    return _name(f"//{host}") in names and (origin is None or _name(origin) in names)


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
