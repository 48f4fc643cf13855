"""What a sweep is about: an experiment file as it was read, what is tried of it, and the experiment of each trial."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from xarb.assembly import Recording
from xarb.assembly.resolved import Resolved, encode_config, resolve
from xarb.config import Experiment, read_draft
from xarb.config.reader import normal
from xarb.model.instrument import Instrument
from xarb.provenance import code_digest
from xarb.verbs.sweep.journal import Heading
from xarb.verbs.sweep.proposed import Known, Optuna, Proposals, library
from xarb.verbs.sweep.space import MAX_VALUES, Settings, drawn, grid, parameters

_DRAWN: Final = 100


class Plan:
    """A sweep of one experiment file.

    Args:
        path: the file.
        overrides: dotted keys with TOML values as text, in place of the file's.

    Attributes:
        base: the experiment without anything tried.
        space: what is tried.
        keys: of the parameters, in order.

    Raises:
        ConfigError: the file does not stand, or a value that would be tried does not, by the words of the config itself.
    """

    def __init__(self, path: Path, overrides: Mapping[str, str] | None = None) -> None:
        self._draft = read_draft(path)
        self.base = self._draft.experiment(overrides)
        self.config = self.base.sweep
        where = f"{self.base.origin}: sweep"
        self.space = parameters(self.config.parameters, f"{where}.parameters")
        self.keys = tuple(one.key for one in self.space)
        for one in self.space:
            for value in one.ends():
                self.experiment({one.key: value})
        self._where = where

    def experiment(self, settings: Mapping[str, str]) -> Experiment:
        """The experiment with these settings.

        Raises:
            ConfigError: a value is not allowed, or not beside the others.
        """
        return self._draft.experiment({**self.base.overrides, **settings})

    def resolved(self, settings: Mapping[str, str], instruments: Sequence[Instrument]) -> Resolved:
        """Its config on a log.

        Raises:
            ConfigError: as `experiment`, or it does not fit the log.
        """
        return resolve(self.experiment(settings), instruments)

    def proposals(self, split: int) -> Proposals:
        """What is tried in a split, by its number.

        Raises:
            ConfigError: a grid is too large, or Optuna is not installed.
        """
        config, count = self.config, self.count
        if config.method == "grid":
            return Known(grid(self.space, config.trials or MAX_VALUES, self._where))
        if config.method == "random":
            return Known([drawn(self.space, config.seed, number) for number in range(count)])
        return Optuna(self.space, seed=f"sweep {config.seed} {split}", trials=count, batch=config.batch)

    @property
    def count(self) -> int:
        """How many trials there are in a split.

        Raises:
            ConfigError: a grid is too large.
        """
        if self.config.method == "grid":
            return len(grid(self.space, self.config.trials or MAX_VALUES, self._where))
        return self.config.trials or _DRAWN

    def tried(self, instruments: Sequence[Instrument]) -> list[Resolved]:
        """The config without anything tried, and with each value in turn, with digests of the user's own code.

        Raises:
            ConfigError: a value that would be tried does not fit the log.
        """
        each: list[Settings] = [{}, *({one.key: value} for one in self.space for value in one.ends())]
        return [self.resolved(settings, instruments) for settings in each]

    def heading(self, tried: Sequence[Resolved], recording: Recording, cuts: Sequence[int]) -> Heading:
        """What decides every run: of the search all but how many trials there are."""
        configs = [encode_config(one) for one in tried]
        keys = msgspec.to_builtins(msgspec.structs.replace(self.config, trials=0, parameters={}), builtin_types=(Decimal,))
        return Heading(
            log_digest=recording.digest,
            code_digest=code_digest(),
            config_digest=hashlib.sha256(msgspec.json.encode(configs, order="deterministic")).hexdigest(),
            search=normal(keys) | {"parameters": msgspec.json.encode(self.space).decode(), "cuts": list(cuts), **self._proposer()},
        )

    def _proposer(self) -> dict[str, str]:
        """What else decides which settings are tried: Optuna's version, where it proposes them."""
        return {"optuna": library().__version__} if self.config.method == "optuna" else {}


def identity(heading: Heading) -> str:
    """A digest that names a sweep."""
    return hashlib.sha256(msgspec.json.encode(heading, order="deterministic")).hexdigest()
