"""What commands are made of: the applications, the options that several share, and parameters taken as they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from xarb.console import interruptible, while_read
from xarb.errors import ConfigError


class _AsWritten:
    """Gives a parameter's texts as they stand, or as paths."""

    def __init__(self, kind: Callable[[Any], object]) -> None:
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: object) -> Any:
        """The value of one parameter; an empty tuple where one that may be repeated is absent."""
        del ctx
        if param.multiple or param.nargs == -1:
            return tuple(self._kind(one) for one in value or ())
        return None if value is None else self._kind(value)


_KINDS: Final[dict[Any, Callable[[Any], object]]] = {bool: bool, str: str, Path: Path, list[str]: str, list[Path]: Path}


def _taken_as_written(parameters: Sequence[Any]) -> Sequence[Any]:
    """The same parameters; flags, texts and paths pass as they are written.

    Typer 0.29 builds a pydantic adapter for every parameter; importing pydantic for that takes 75 ms, a tenth of a short run. Where
    another Typer keeps no adapter in `_runtime_param`, this has no effect.
    """
    for parameter in parameters:
        kind = _KINDS.get(getattr(getattr(parameter, "type_descriptor", None), "annotation", None))
        if kind is not None:
            vars(parameter)["_runtime_param"] = _AsWritten(kind)
    return parameters


class Verb(TyperCommand):
    """One verb."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters, `--help` among them."""
        return _taken_as_written(super().get_params(ctx))


class _Verbs(TyperGroup):
    """All verbs; Ctrl-C in any of them ends with a line, not in silence, and a reader that leaves is no verdict."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters, `--help` among them."""
        return _taken_as_written(super().get_params(ctx))

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # Typer's own context is a Click context
        """Run the verb."""
        with interruptible(), while_read():
            return super().invoke(ctx)


app = typer.Typer(
    name="xarb",
    cls=_Verbs,
    help="Record markets, replay them and trade them with one deterministic engine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
log_app = typer.Typer(name="log", help="Look at a log and prove that it is whole.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(name="config", help="Look at an experiment file.", no_args_is_help=True, rich_markup_mode=None)
new_app = typer.Typer(name="new", help="Write files to begin with.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(log_app)
app.add_typer(new_app)
app.add_typer(config_app)

ExperimentPath = Annotated[
    Path, typer.Argument(metavar="EXPERIMENT.toml", help="Experiment file; see experiments/ and docs/config.md.")
]
LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="Folder of a log or of a run.")]
TradedLog = Annotated[Path, typer.Argument(metavar="LOG", help="Folder of a log that is traded on.")]
WaitOption = Annotated[str, typer.Option("--wait", metavar="T", help="How long to wait for the end: 30s, 5m.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one key, such as strategies.cross.min_profit_bps=3. May be repeated."
    ),
]
LogOption = Annotated[
    Path | None, typer.Option("--log", metavar="LOG", help="Log to replay instead of the one that the file names.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help="table or json; default table, tab-separated where it is no terminal."),
]
CodeOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--code",
        metavar="FILE.py",
        help="The file of a strategy of your own that decided; what only a log names is never run. May be repeated.",
    ),
]


def allow_code(files: list[Path] | None) -> None:
    """Let the files of `--code` run as strategies' code.

    Raises:
        ConfigError: one cannot be read.
    """
    if files:
        from xarb.assembly.code import allow

        for path in files:
            allow(path)


def overrides_of(pairs: list[str] | None) -> dict[str, str]:
    """The keys and values of `--set`.

    Raises:
        ConfigError: one is not KEY=VALUE.
    """
    found = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {pair}: must be KEY=VALUE, such as run.seed=2")
        found[key] = value
    return found
