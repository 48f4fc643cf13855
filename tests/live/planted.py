"""The command line with a leak planted in it, the one that the variable PLANT names: how canary tests are seen to fail."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final, NoReturn

from xarb.__main__ import main
from xarb.venues import account, keys
from xarb.watch import verb


def _no_redaction() -> None:
    """Whoever wrote the redactor forgot to hide anything."""
    product: Any = keys.Redactor
    product.__call__ = lambda *given: given[1]


def _on_error(act: Callable[[Exception], object]) -> None:
    """Something is done with ccxt's own error, whose text holds the signed address."""
    product: Any = account
    sorted_by_fate = product.outcome_of

    def outcome_of(error: Exception, *more: Any, **named: Any) -> Any:
        act(error)
        return sorted_by_fate(error, *more, **named)

    product.outcome_of = outcome_of


def _raise(error: Exception) -> NoReturn:
    raise RuntimeError("unforeseen") from error


def _in_metrics() -> None:
    product: Any = verb
    metrics = product.exposition
    product.exposition = lambda *given: metrics(*given) + f"# {os.environ['XARB_ALPHA_MAIN_API_KEY']}\n"


PLANTS: Final[dict[str, Callable[[], None]]] = {
    "redaction": _no_redaction,
    "printed": lambda: _on_error(print),
    "logged": lambda: _on_error(lambda error: logging.getLogger("xarb").error("%s", error)),
    "traceback": lambda: _on_error(_raise),
    "metrics": _in_metrics,
}

if __name__ == "__main__":
    PLANTS[os.environ["PLANT"]]()
    main()
