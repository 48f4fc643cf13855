"""Seeded traders who move the world's markets: swaps, and liquidity that comes and goes, over all of its pools."""

from __future__ import annotations

import random
from typing import Any

from tests.chain.contracts import call_data, read
from tests.chain.node import Node, RpcError
from tests.chain.world import FOREVER, World

Call = tuple[str, str]  # to whom, with which data


class Traders:
    """Acts of one account, each drawn from a seed.

    Args:
        node: the chain.
        world: what is on it.
        seed: of every draw.
    """

    def __init__(self, node: Node, world: World, seed: int = 1) -> None:
        self._node, self._world = node, world
        self._draw = random.Random(seed)  # noqa: S311  # a test's draw
        made = range(1, 1 + 6 * len(world.v3_pools))
        self._positions: list[int] = [one for one in made if one % 6]  # the sixth of each pool spans all prices and stays
        self.done: dict[str, int] = {}
        self.refused = 0

    def act(self) -> dict[str, Any] | None:
        """One act, mined at once; its receipt, or None where the pools said no (no liquidity, amounts too small)."""
        name, calls = self.wish()
        receipt = None
        try:
            for to, data in calls:
                receipt = self._node.transact(self._world.owner, to, data)
        except (RpcError, AssertionError):
            receipt = None
        self.settle(name, receipt)
        return receipt

    def wish(self) -> tuple[str, list[Call]]:
        """The next act and its calls, drawn; `settle` must be told what became of it."""
        name, draw = self._draw.choice(
            [
                *[("swap v2", self._swap_v2)] * 3,
                *[("swap v3", self._swap_v3)] * 4,
                ("add v2", self._add_v2),
                ("remove v2", self._remove_v2),
                ("mint v3", self._mint_v3),
                ("burn v3", self._burn_v3),
            ]
        )
        return name, draw()

    def settle(self, name: str, receipt: dict[str, Any] | None) -> None:
        """An act was mined with the receipt of its last call; None: it was refused or reverted."""
        if receipt is None:
            self.refused += 1
            return
        self.done[name] = self.done.get(name, 0) + 1
        if name == "mint v3":  # the manager tells the number of the position as the fourth topic of its Transfer
            self._positions += [int(log["topics"][3], 16) for log in receipt["logs"] if self._is_position(log)]

    def _is_position(self, log: dict[str, Any]) -> bool:
        return log["address"].lower() == self._world.v3_manager.lower() and len(log["topics"]) == 4

    def _pair(self) -> tuple[str, str, str]:
        """An exchange and two tokens in either order."""
        label = self._draw.choice(sorted(self._world.v2_pairs))
        exchange, _, symbols = label.partition(" ")
        one, other = self._draw.sample(symbols.split("/"), 2)
        return exchange, self._world.tokens[one], self._world.tokens[other]

    def _amount(self, token: str, most: float) -> int:
        """Some of a token, from a unit to `most` tens of thousands of dollars, small amounts as likely as large ones."""
        worth = {"WETH": 3e-4, "USDC": 1.0, "DAI": 1.0, "WBTC": 1.6e-5}
        decimals = {"WETH": 18, "USDC": 6, "DAI": 18, "WBTC": 8}
        (symbol,) = [name for name, address in self._world.tokens.items() if address == token]
        top = most * 10_000 * worth[symbol] * 10 ** decimals[symbol]
        return max(int(top ** self._draw.uniform(0.3, 1.0)), 1)

    def _swap_v2(self) -> list[Call]:
        exchange, token_in, token_out = self._pair()
        return _call(
            self._world.v2_routers[exchange],
            "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)",
            *(self._amount(token_in, 3), 0, [token_in, token_out], self._world.owner, FOREVER),
        )

    def _add_v2(self) -> list[Call]:
        exchange, one, other = self._pair()
        amounts = (self._amount(one, 2), self._amount(other, 2))
        return _call(
            self._world.v2_routers[exchange],
            "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)",
            *(one, other, *amounts, 0, 0, self._world.owner, FOREVER),
        )

    def _remove_v2(self) -> list[Call]:
        label = self._draw.choice(sorted(self._world.v2_pairs))
        pair, owner = self._world.v2_pairs[label], self._world.owner
        exchange, _, symbols = label.partition(" ")
        one, other = (self._world.tokens[symbol] for symbol in symbols.split("/"))
        (held,) = read(self._node, pair, "balanceOf(address)", owner, returns=["uint256"])
        router = self._world.v2_routers[exchange]
        approval = (pair, call_data("approve(address,uint256)", router, held))
        return [
            approval,
            *_call(
                router,
                "removeLiquidity(address,address,uint256,uint256,uint256,address,uint256)",
                *(one, other, held * self._draw.randint(1, 50) // 1000, 0, 0, owner, FOREVER),
            ),
        ]

    def _v3(self) -> tuple[str, list[str], int]:
        """A pool, its tokens in order, and its fee."""
        label = self._draw.choice(sorted(self._world.v3_pools))
        symbols, _, fee = label.partition(" ")
        tokens = sorted((self._world.tokens[symbol] for symbol in symbols.split("/")), key=str.lower)
        return self._world.v3_pools[label], tokens, int(fee)

    def _swap_v3(self) -> list[Call]:
        _, tokens, fee = self._v3()
        token_in, token_out = self._draw.sample(tokens, 2)
        if self._draw.random() < 0.5:
            signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
            amounts = (self._amount(token_in, 30), 0)
        else:
            signature = "exactOutputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
            amounts = (self._amount(token_out, 30), 1 << 255)
        return _call(self._world.v3_router, signature, (token_in, token_out, fee, self._world.owner, FOREVER, *amounts, 0))

    def _mint_v3(self) -> list[Call]:
        pool, tokens, fee = self._v3()
        (spacing,) = read(self._node, pool, "tickSpacing()", returns=["int24"])
        _, tick, *_ = read(self._node, pool, "slot0()", returns=["uint160", "int24"])
        lower = (tick // spacing + self._draw.randint(-30, 20)) * spacing
        upper = lower + self._draw.randint(1, 40) * spacing
        amounts = [self._amount(token, 5) for token in tokens]
        return _call(
            self._world.v3_manager,
            "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))",
            (*tokens, fee, lower, upper, *amounts, 0, 0, self._world.owner, FOREVER),
        )

    def _burn_v3(self) -> list[Call]:
        position = self._draw.choice(self._positions)
        *_, liquidity, _, _, _, _ = read(
            self._node,
            self._world.v3_manager,
            "positions(uint256)",
            position,
            returns=["uint96", *["address"] * 3, "uint24", "int24", "int24", "uint128", *["uint256"] * 2, *["uint128"] * 2],
        )
        part = liquidity if self._draw.random() < 0.4 else liquidity * self._draw.randint(1, 90) // 100
        return _call(
            self._world.v3_manager,
            "decreaseLiquidity((uint256,uint128,uint256,uint256,uint256))",
            (position, part, 0, 0, FOREVER),
        )


def _call(to: str, signature: str, *values: Any) -> list[Call]:
    return [(to, call_data(signature, *values))]
