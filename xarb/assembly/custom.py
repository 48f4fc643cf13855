"""Strategies of the user's own: what they are made from, and how they stand in the engine."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from xarb.assembly.code import load_code
from xarb.assembly.resolved import Resolved, pairing_of
from xarb.assembly.wrapped import Wrapped
from xarb.config.strategies import StrategyConfig
from xarb.engine.strategy import Pair, Plan, Strategy, View, Wake
from xarb.errors import ConfigError, Refused, StrategyFailed
from xarb.model.instrument import Instrument

FACTORY: Final = "strategy"
_Params = TypeVar("_Params", bound=msgspec.Struct)


class Given(NamedTuple):
    """What a strategy of the user's own is made from.

    Attributes:
        name: its id, as in `[strategies.NAME]`.
        account: the account whose money it uses.
        instruments: all instruments of the log, by number.
        pairs: what may be compared, with fees and the edges of `open_bps` and `close_bps`, for `Wakes(pairs=...)`.
        config: its section; limits in it are held by the engine, whatever the strategy does.
        params: its `params`; numbers are text, `params_of` turns them into a struct.
    """

    name: str
    account: str
    instruments: Sequence[Instrument]
    pairs: tuple[Pair, ...]
    config: StrategyConfig
    params: Mapping[str, Any]

    def params_of(self, kind: type[_Params]) -> _Params:
        """The params as a struct.

        Raises:
            ConfigError: one is missing, unknown, or of another type.
        """
        try:
            return msgspec.convert(dict(self.params), kind, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"strategies.{self.name}.params: {error}") from None


class Custom(Wrapped):
    """A strategy of the user's own in the engine: what it raises names it, with file and line."""

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Its plans.

        Raises:
            StrategyFailed: it raised something.
        """
        try:
            return self._inner.on_wake(wake, view)
        except Exception as error:  # whatever a user's code raises is told with its place, and raised as ours
            raise StrategyFailed(f"strategies.{self.id}: {_where(error)}{type(error).__name__}: {error}") from error


def custom(resolved: Resolved, name: str, instruments: Sequence[Instrument]) -> Strategy:
    """The strategy of a section of kind custom.

    Raises:
        ConfigError: the code does not make one.
        Refused: it is not the code of the run, or nobody named its file.
    """
    config = resolved.strategies[name]
    assert config.code is not None
    given = Given(name, config.account, instruments, pairing_of(resolved, name, instruments).pairs, config, config.params or {})
    try:
        factory = getattr(load_code(name, config), FACTORY, None)
        if not callable(factory):
            raise ConfigError(f"{config.code} has no function {FACTORY}(given): it must return the strategy")
        made = factory(given)
    except (ConfigError, Refused):
        raise
    except Exception as error:  # as above, before anything runs
        raise ConfigError(f"strategies.{name}: {_where(error)}{type(error).__name__}: {error}") from error
    _check(made, config.code, name)
    return Custom(made)


def _check(made: Any, code: str, name: str) -> None:
    """See that a strategy is one.

    Raises:
        ConfigError: it is not.
    """
    for part in ("id", "account", "state", "wakes", "on_wake"):
        if not hasattr(made, part):
            raise ConfigError(f"{code}: what {FACTORY}(given) returned has no {part}")
    if made.id != name:
        raise ConfigError(f"{code}: the strategy's id is {made.id!r}, it must be the given name {name!r}")
    if not isinstance(made.state, msgspec.Struct):
        raise ConfigError(f"{code}: state must be a msgspec.Struct, with all that the strategy remembers in it")


def _where(error: Exception) -> str:
    """File and line in which it was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename} line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    last = next((one for one in reversed(frames) if one.filename != __file__ and not one.filename.startswith("<frozen")), None)
    return "" if last is None else f"{last.filename} line {last.lineno}: "
