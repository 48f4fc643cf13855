"""The tests' chain for a person: `make chain` builds it, lets its market move and says where it is, until Ctrl-C.

Options: `make chain CHAIN_ARGS="--interval 1 --rate 5"`; `python -m tests.chain --help` lists them.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from tests.chain.market import Market
from tests.chain.node import BINARY, Node, running
from tests.chain.world import World, build

V2_FEE_PPM: Final = 3000  # a v2 pair states its fee nowhere; both exchanges of this world are built of Uniswap's own bytecode


def config(node: Node, world: World) -> str:
    """A config that records this chain."""
    pools = [*world.v2_pairs.items(), *world.v3_pools.items()]
    lines = [
        "[chains.local]",
        f"chain_id = {int(node.call('eth_chainId'), 16)}",
        f'rpc = ["ws://127.0.0.1:{node.port}", "{node.ipc}"]',
        "pools = [",
        *(f'  "{address}", # {label}' for label, address in pools),
        "]",
    ]
    for name, address in sorted(world.v2_factories.items()):
        lines += ["", f"[chains.local.factories.{name}]", f'address = "{address}"', 'kind = "v2"', f"fee_ppm = {V2_FEE_PPM}"]
    lines += ["", "[chains.local.factories.uniswap3]", f'address = "{world.v3_factory}"', 'kind = "v3"']
    tokens = ", ".join(f'"{world.tokens[symbol]}"' for symbol in ("WETH", "USDC", "DAI"))
    for kind, address in (("balancer", world.vault), ("aave", world.lender), ("flash", world.v3_pools["WETH/USDC 500"])):
        lines += ["", f"[chains.local.lenders.{kind}]", f'kind = "{kind}"', f'address = "{address}"', f"tokens = [{tokens}]"]
    return "\n".join(lines) + "\n"


def said(node: Node, world: World, file: Path) -> str:
    """Where everything is."""
    named = {f"token {symbol}": address for symbol, address in world.tokens.items()}
    named |= {f"pool {label} (v2)": address for label, address in world.v2_pairs.items()}
    named |= {f"pool {label} (v3)": address for label, address in world.v3_pools.items()}
    named |= {f"router of {name}": address for name, address in world.v2_routers.items()}
    named |= {"router of v3": world.v3_router, "quoter of v3": world.quoter, "tick lens": world.tick_lens}
    named |= {"Balancer vault": world.vault, "Aave pool": world.lender}
    head = [
        f"http    {node.url}",
        f"ws      ws://127.0.0.1:{node.port}",
        f"ipc     {node.ipc}",
        f"config  {file}",
        f"trader  {world.owner}, who made everything and moves the market; the node signs for eth_accounts, of which it is the first",
        "",
    ]
    return "\n".join([*head, *(f"{name:<32} {address}" for name, address in named.items()), "", file.read_text()])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chain", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8545, help="on loopback; 0: a free one")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between blocks")
    parser.add_argument("--rate", type=float, default=2.0, help="what the traders do a second")
    parser.add_argument("--seed", type=int, default=1, help="of what they do")
    asked = parser.parse_args()
    if not BINARY.is_file():
        print("no node and contracts: npm ci in tests/chain fetches them", file=sys.stderr)  # noqa: T201  # what a person reads
        return 1
    if asked.port and not _is_free(asked.port):  # whatever listens there would be taken for the node, and built on
        print(f"port {asked.port} is taken; --port 0 takes a free one", file=sys.stderr)  # noqa: T201  # what a person reads
        return 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="xarb-chain-") as place:
        folder = Path(place)
        with running(folder, port=asked.port) as node:
            world = build(node)
            file = folder / "chain.toml"
            file.write_text(config(node, world))
            print(said(node, world, file), flush=True)  # noqa: T201  # what a person reads
            market = Market(node, world, seed=asked.seed, rate=asked.rate, interval_s=asked.interval)
            print("The market moves; Ctrl-C ends it.", flush=True)  # noqa: T201  # what a person reads
            market.run(stop)
            done = ", ".join(f"{name} {count}" for name, count in sorted(market.traders.done.items()))
            print(f"{market.blocks} blocks; {done}; refused {market.traders.refused}")  # noqa: T201  # what a person reads
    return 0


if __name__ == "__main__":
    sys.exit(main())
