"""What clients send, read without trusting it: nothing in here can end the server, however malformed, deep or long it is."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

if TYPE_CHECKING:
    from aiohttp import web

_WHOLE: Final = re.compile(r"[0-9]{1,20}\Z")
_any = msgspec.json.Decoder()
_object = msgspec.json.Decoder(dict[str, Any])


async def body_of(request: web.Request) -> str:
    """The body as text. Bytes that are no UTF-8 are replaced, so that no signature over them holds; the stated charset counts for nothing."""
    return (await request.read()).decode("utf-8", "replace")


def json_of(text: str) -> Any:
    """A JSON text's value.

    Raises:
        ValueError: it is none, or nested deeper than can be read.
    """
    return _read(_any, text)


def object_of(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the text is something else.
    """
    found: dict[str, Any] = _read(_object, text)
    return found


def fields_of(text: str) -> dict[str, str]:
    """The fields of a query or a form by name.

    Raises:
        Repeated: a name comes more than once.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(text):
        if name in found:
            raise Repeated(name)
        found[name] = value
    return found


class Repeated(Exception):
    """A parameter that comes more than once; each wire says so in its own words."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def is_flat(value: object) -> bool:
    """Whether a value is an object whose values are texts, numbers, booleans or null."""
    return isinstance(value, dict) and not any(isinstance(one, list | dict) for one in value.values())


def whole_of(text: object) -> int | None:
    """A whole number of at most 20 digits, else None."""
    found = str(text or "")
    return int(found) if _WHOLE.match(found) else None


def is_same(secret: str, given: object) -> bool:
    """Whether a client knows a secret or made a signature; takes as long for a wrong one as for the right one."""
    return hmac.compare_digest(secret.encode(), str(given).encode("utf-8", "surrogateescape"))


def _read(decoder: msgspec.json.Decoder[Any], text: str) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


__all__ = ["Repeated", "body_of", "fields_of", "is_flat", "is_same", "json_of", "object_of", "whole_of"]
