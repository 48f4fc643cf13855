"""An HTTP answer on its way out, and what the fault schedule does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from xarb.serve.faults import Fault


class Reply(NamedTuple):
    """Status, body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def failed(fault: Fault, body: Mapping[str, Any] | None) -> Reply:
    """The answer of a `status` fault: JSON, or a web page where there is none."""
    headers = {"Content-Type": "text/html" if body is None else "application/json;charset=UTF-8"}
    if fault.retry_after_s is not None:
        headers["Retry-After"] = str(fault.retry_after_s)
    page = f"<html><body><h1>{fault.status}</h1></body></html>".encode()
    return Reply(fault.status, page if body is None else msgspec.json.encode(body), headers)


async def send(request: web.Request, reply: Reply, fault: Fault | None) -> web.StreamResponse:
    """Send a reply as the fault lets it through."""
    body = reply.body
    if fault is not None:
        if fault.kind in {"drop_reply", "close"}:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=reply.status)
        if fault.kind == "hang":
            await asyncio.get_running_loop().create_future()  # until the client or the server gives up
        if fault.kind == "delay":
            await asyncio.sleep(float(fault.for_s))
        if fault.kind == "truncate":
            body = body[: len(body) // 2]
    return web.Response(status=reply.status, body=body, headers=reply.headers)


__all__ = ["Reply", "failed", "send"]
