"""In which order settings are tried: all that are known beforehand, or what Optuna proposes after each batch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from xarb.errors import ConfigError
from xarb.verbs.sweep.space import Parameter, Settings

if TYPE_CHECKING:
    from types import ModuleType

Value = float | Decimal | None


class Proposals(Protocol):
    """Proposes settings for one split."""

    def more(self) -> list[Settings]:
        """What is to be tried next, at once; nothing when the search is over."""

    def tell(self, values: Sequence[Value]) -> None:
        """The goals of what was proposed last, None where one is undefined."""


class Known:
    """Settings that were all known before the first one is tried."""

    def __init__(self, trials: Sequence[Settings]) -> None:
        self._left = list(trials)

    def more(self) -> list[Settings]:
        """All of them, once."""
        found, self._left = self._left, []
        return found

    def tell(self, values: Sequence[Value]) -> None:
        """Nothing follows from it."""


class Optuna:
    """Optuna's tree-structured Parzen estimator, asked in batches: the settings of one are proposed before any of them is known.

    What it proposes follows from the seed, the size of a batch and the values told; not from who does the runs, nor in which order.

    Args:
        space: what is tried.
        seed: of the search.
        trials: how many.
        batch: how many are proposed at once.

    Raises:
        ConfigError: Optuna is not installed.
    """

    def __init__(self, space: Sequence[Parameter], *, seed: str, trials: int, batch: int) -> None:
        self._optuna = library()
        self._space, self._left, self._batch = space, trials, batch
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
        sampler = self._optuna.samplers.TPESampler(seed=number, constant_liar=True)
        self._study = self._optuna.create_study(direction="maximize", sampler=sampler)
        self._kinds = {one.key: self._kind(one) for one in space}
        self._asked: list[Any] = []

    def _kind(self, one: Parameter) -> Any:
        kinds = self._optuna.distributions
        if one.values:
            return kinds.CategoricalDistribution(one.values)
        if one.is_log:
            return kinds.FloatDistribution(float(one.low), float(one.value(one.count - 1)), log=True)
        return kinds.IntDistribution(0, one.count - 1)

    def more(self) -> list[Settings]:
        """The next batch."""
        count = min(self._batch, self._left)
        self._left -= count
        self._asked = [self._study.ask(self._kinds) for _ in range(count)]
        return [{one.key: _text(one, trial.params[one.key]) for one in self._space} for trial in self._asked]

    def tell(self, values: Sequence[Value]) -> None:
        """The goals of the last batch; what has none counts as failed."""
        for trial, value in zip(self._asked, values, strict=True):
            if value is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, float(value))


def library() -> ModuleType:
    """Optuna.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it imports; none is about us
            import optuna
    except ImportError:
        raise ConfigError("sweep.method = optuna needs Optuna: pip install 'xarb[optuna]'") from None
    module: ModuleType = optuna
    return module


def _text(one: Parameter, found: Any) -> str:
    """What Optuna chose, as TOML text."""
    if one.values:
        return str(found)
    return one.nearest(found) if one.is_log else one.value(found)
