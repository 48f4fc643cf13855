"""One default per key in one place: what a config key feeds has no default of its own."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType

from xarb import assembly, settings
from xarb.assembly import resolved

DECIDES = ("xarb.engine", "xarb.strategies", "xarb.venues", "xarb.pairing")


def fed(module: ModuleType) -> Iterator[tuple[type, str]]:
    """(class, parameter) of everything that the module hands by name to a class that decides, directly or through `_told`."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and node.keywords:
            for name in (part.id for part in (node.func, *node.args) if isinstance(part, ast.Name)):
                made = getattr(module, name, None)
                if inspect.isclass(made) and made.__module__.startswith(DECIDES):
                    yield from ((made, keyword.arg) for keyword in node.keywords if keyword.arg is not None)


def test_no_parameter_that_a_config_key_feeds_has_a_default_beside_the_config() -> None:
    """Everything that a config becomes is required where it is used, so that the config alone says what holds when a key is absent."""
    found = {*fed(settings), *fed(assembly), *fed(resolved)}
    doubled = [
        f"{made.__name__}.{name}"
        for made, name in found
        if inspect.signature(made).parameters[name].default is not inspect.Parameter.empty
    ]
    assert sorted(doubled) == []
    known = {"FeedLimits", "RiskLimits", "ExecutionPolicy", "StrategyTerms", "MicroParams", "VenueModel", "Setup", "VenueSetup"}
    known |= {"BreakerLimits", "AdjustLimits", "MovingTerms", "PairTerms", "Micro", "TriangularParams", "TradeGraph", "Triangular"}
    known |= {"ChainModel", "ChainTerms", "DexParams", "CexDexParams"}
    assert known == {made.__name__ for made, _ in found}
