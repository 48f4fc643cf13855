"""A chain of its own for each test, with the same world on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chain.node import BINARY, Node, running
from tests.chain.world import World, build, dump, load
from xarb.venues.dex.executor import creation_code


class Chain(NamedTuple):
    """A running node and what is on it."""

    node: Node
    world: World


@pytest.fixture(scope="session")
def node_binary() -> Path:
    """The node's program."""
    if not BINARY.is_file():
        pytest.skip("no node and contracts for the chain tests: `make test` fetches them with npm (or: npm ci in tests/chain)")
    return BINARY


@pytest.fixture(scope="session")
def world_folder(node_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world, built once and dumped."""
    del node_binary  # asked for so that it is there
    folder = tmp_path_factory.mktemp("world")
    with running(folder) as node:
        dump(node, build(node), folder)
    return folder


@pytest.fixture(scope="session")
def code() -> str:
    """The executor, compiled once."""
    return "0x" + creation_code().hex()


@pytest.fixture
def chain(world_folder: Path, tmp_path: Path) -> Iterator[Chain]:
    """The world on a fresh node."""
    with running(tmp_path) as node:
        yield Chain(node, load(node, world_folder))
