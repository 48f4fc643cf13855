"""Pages of a browser that reach a served exchange on loopback: by a name that was pointed here, or by a socket."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.serve.site import STANDING, head, run, serving
from tests.serve.test_okx import okx_config
from tests.trial import Rows

ROWS: Rows = [*head(), (10, STANDING)]


@pytest.mark.parametrize(
    ("wire", "public", "streams"), [("binance", "/api/v3/time", "/ws"), ("okx", "/api/v5/public/time", "/ws/v5/public")]
)
def test_pages_of_other_hosts_are_refused(tmp_path: Path, wire: str, public: str, streams: str) -> None:
    """Requests, the server's own account of money, and sockets; clients that ask for loopback or the exchange's hosts are served."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, wires={"alpha": wire}, config=okx_config()) as site:

            async def status(path: str, **headers: str) -> int:
                async with site.http.get(site.base + path, headers=headers) as answer:
                    return answer.status

            for path in (public, "/xarb/balances"):
                assert await status(path) == 200
                assert await status(path, Host="localhost:9001", Origin="http://localhost:3000") == 200
                for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:127.0.0.1", "127.0.0.2"):
                    assert await status(path, Host=host) == 403, host
                assert await status(path, Origin="https://evil.example") == 403
            assert await status(public, Host={"binance": "api.binance.com", "okx": "www.okx.com"}[wire]) == 200
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await site.http.ws_connect(site.base + streams, origin="https://evil.example")
            async with site.http.ws_connect(site.base + streams):
                pass

    run(test())
