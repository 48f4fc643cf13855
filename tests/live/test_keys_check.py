"""`xarb keys check` at served exchanges."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.live.site import site
from tests.serve.site import KEY, SECRET
from xarb.config import load_experiment
from xarb.errors import ConfigError
from xarb.serve.config import KeyConfig, Permission
from xarb.verbs.check.live import check_keys


@pytest.mark.parametrize(
    ("permissions", "allowed", "objections"),
    [
        (("read", "trade"), False, []),
        (("read", "trade", "withdraw"), False, ["may withdraw"] * 2),
        (("read", "trade", "withdraw"), True, []),
        (("read",), False, ["may not trade"] * 2),
    ],
)
def test_keys_are_checked_by_the_exchanges_word(
    tmp_path: Path, permissions: tuple[Permission, ...], allowed: bool, objections: list[str]
) -> None:
    """A key that can withdraw is refused unless its account is allowed by name; no key is shown."""
    keys = {"it": KeyConfig(account="main", api_key=KEY, secret=SECRET, permissions=permissions)}

    async def story() -> tuple[Any, list[str]]:
        async with site(tmp_path, keys=keys) as at:
            loaded = load_experiment(at.config, {"live.allow_withdraw": '["main"]'} if allowed else {})
            return await asyncio.wait_for(asyncio.to_thread(check_keys, loaded), 60)

    tables, found = asyncio.run(story())
    assert len(found) == len(objections)
    assert all(words in text for words, text in zip(objections, found, strict=True))
    assert [row[:2] for row in tables[0].rows] == [("main", "alpha"), ("main", "bravo")]
    assert KEY not in str(tables) + str(found)


def test_config_without_accounts_has_no_keys_to_check(tmp_path: Path) -> None:
    """The message says so."""
    (tmp_path / "x.toml").write_text('[markets.okx]\nsymbols = ["BTC/USDT"]\n')
    with pytest.raises(ConfigError, match="no keys to check"):
        check_keys(load_experiment(tmp_path / "x.toml"))
