"""Whether an asset can be moved off and onto a venue, as its `wallets` rows say: one that cannot is not traded, because it would stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Wallets:
    """What the venues said of deposits and withdrawals. An asset of which nothing was said counts as open.

    Args:
        anyway: by venue, assets that are traded all the same.
    """

    def __init__(self, anyway: Mapping[str, frozenset[str]]) -> None:
        self._anyway = anyway
        self._networks: dict[tuple[str, str], dict[str, tuple[bool, bool]]] = {}
        self._closed: set[tuple[str, str]] = set()  # asked for members only

    def note(self, values: Mapping[str, Any]) -> None:
        """A `wallets` row: one network of one asset on one venue."""
        key = (values["venue"], values["asset"])
        networks = self._networks.setdefault(key, {})
        networks[values["network"]] = (values["deposit_open"], values["withdraw_open"])
        self._judge(key)

    def capture(self) -> list[tuple[str, str, str, bool, bool]]:
        """Venue, asset, network, deposits open, withdrawals open, as plain values."""
        return [(*key, network, *two) for key, networks in self._networks.items() for network, two in networks.items()]

    def restore(self, copy: list[tuple[str, str, str, bool, bool]]) -> None:
        """Take over a copy."""
        for venue, asset, network, deposit, withdraw in copy:
            self._networks.setdefault((venue, asset), {})[network] = (deposit, withdraw)
        for key in self._networks:
            self._judge(key)

    def _judge(self, key: tuple[str, str]) -> None:
        networks = self._networks[key]
        is_open = any(deposit for deposit, _ in networks.values()) and any(withdraw for _, withdraw in networks.values())
        if is_open or key[1] in self._anyway.get(key[0], ()):
            self._closed.discard(key)
        else:
            self._closed.add(key)

    def is_closed(self, venue: str, asset: str) -> bool:
        """Whether no network takes deposits of the asset there, or none withdrawals, and nobody allowed to trade it anyway."""
        return (venue, asset) in self._closed
