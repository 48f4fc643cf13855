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

    def all_trials(self) -> list[Settings]:
        """Every trial of a search that is known beforehand.

        Raises:
            ConfigError: a grid is too large.
        """
        if self.config.method == "grid":
            return grid(self.space, self.config.trials or MAX_VALUES, self._where)
        return [drawn(self.space, self.config.seed, number) for number in range(self.config.trials or _DRAWN)]

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
            search=normal(keys) | {"parameters": msgspec.json.encode(self.space).decode(), "cuts": list(cuts)},
        )


def identity(heading: Heading) -> str:
    """A digest that names a sweep."""
    return hashlib.sha256(msgspec.json.encode(heading, order="deterministic")).hexdigest()
