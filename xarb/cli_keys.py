"""The commands that keep API keys; none shows one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from xarb.console import Table, say, show
from xarb.errors import ConfigError, Refused
from xarb.verbs import ExperimentPath, SetOption, Verb, app, overrides_of

keys_app = typer.Typer(name="keys", help="Keep API keys, list and check them.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app)
_LIMIT: Final = 65_536  # characters of standard input


@keys_app.command("add", cls=Verb)
def add(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Label of the account, as in the experiment file.")],
    venue: Annotated[str, typer.Argument(metavar="VENUE", help="Venue of the account, as in the experiment file.")],
    source: Annotated[
        str, typer.Option("--source", metavar="file|keyring", help="The encrypted file, or the keyring of the operating system.")
    ] = "file",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the keys that are there.")] = False,
) -> None:
    """Keep the keys of an account: asked for without echo, or a keys file (TOML) from standard input; never an argument.

    The encrypted file is XARB_KEYS_VAULT, else xarb/keys.vault in the user's folder of settings. Its passphrase comes from
    XARB_KEYS_PASSPHRASE, a private file XARB_KEYS_PASSPHRASE_FILE, or the terminal. See docs/orders.md.
    """
    import os

    from xarb.venues.keys import Keys, check_values, values_of
    from xarb.venues.vault import writable

    name = f"{account}@{venue}"
    store = writable(source, os.environ)
    if name in store.names() and not replace:
        raise Refused(f"{store.name} has keys of {name}; --replace replaces them")
    if sys.stdin.isatty():
        values = {"api_key": _asked("API key"), "api_secret": _asked("API secret"), "password": _asked("Password, or empty")}
        values = {key: value for key, value in values.items() if value}
    else:
        text = sys.stdin.read(_LIMIT + 1)
        if len(text) > _LIMIT:
            raise ConfigError(f"standard input: more than {_LIMIT} characters")
        values = values_of(text, "standard input")
    values = check_values(values, "the keys")
    store.put(name, values)
    say(f"{Keys(venue, account, values)} are kept in {store.name}")


def _asked(what: str) -> str:
    answer: str = typer.prompt(what, hide_input=True, default="", show_default=False)
    return answer.strip()


@keys_app.command("list", cls=Verb)
def list_keys() -> None:
    """List what the keyring, the encrypted file and the environment hold: account, venue, source and fingerprint."""
    import os

    from xarb.venues.vault import held

    show([Table("Keys", ("account", "venue", "source", "fingerprint"), tuple(held(os.environ)))])


@keys_app.command("check", cls=Verb)
def check(experiment: ExperimentPath, settings: SetOption = None) -> None:
    """Ask the exchanges of an experiment what the keys of its accounts may do.

    Exit code 1 when a key may not trade, or may withdraw (or that is not known) and live.allow_withdraw does not name its account.
    """
    from xarb.check_live import check_keys
    from xarb.config import load_experiment

    tables, objections = check_keys(load_experiment(Path(experiment), overrides_of(settings)))
    show(tables)
    if objections:
        raise Refused("no real orders: " + "; ".join(objections))
