"""The request log holds no key, signature or pass phrase of a client, in whatever it says and is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.site import STANDING, head, run, serving
from tests.serve.test_okx import okx_config
from tests.trial import Rows

ROWS: Rows = [*head(), (10, STANDING)]
FRAMES = {
    "/ws/v5/private": (
        '{"op":"login","args":[{"apiKey":"canaryK","passphrase":"canaryP","timestamp":"1","sign":"canaryS"}]}',
        '{"op":"login","args":{"apiKey": "canaryK", "passphrase": "canaryP", "sign": "canaryS"}}',  # refused, and said back
        '{"op":"nothing","args":[{"passphrase":"canaryP"}]}',
    ),
    "/ws-api/v3": ('{"id":1,"method":"session.logon","params":{"apiKey":"canaryK","signature":"canaryS","timestamp":1}}',),
}


@pytest.mark.parametrize(("wire", "path"), [("okx", "/ws/v5/private"), ("binance", "/ws-api/v3")])
def test_frames_are_kept_without_secrets(tmp_path: Path, wire: str, path: str) -> None:
    """Those that come in, and those that say them back."""
    kept = tmp_path / "requests.jsonl"

    async def test() -> None:
        async with serving(tmp_path, ROWS, wires={"alpha": wire}, config=okx_config(), requests=kept) as site:
            async with site.http.ws_connect(site.base + path) as socket:
                for frame in FRAMES[path]:
                    await socket.send_str(frame)
                    await socket.receive()
            query = "apiKey=canaryK&signature=canaryS"
            await site.get(f"/api/v3/account?{query}")

    run(test())
    text = kept.read_text()
    assert text.count("frame_in") == len(FRAMES[path])
    assert "frame_out" in text
    assert "canary" not in text
