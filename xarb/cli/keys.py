"""The commands that keep API keys and wallets; none shows one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from xarb.cli.parts import SetOption, Verb, app, overrides_of
from xarb.console import Table, say, show
from xarb.errors import ConfigError, Refused

keys_app = typer.Typer(
    name="keys", help="Keep API keys and wallets, list and check them.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(keys_app)
_LIMIT: Final = 65_536  # characters of standard input


@keys_app.command("add", cls=Verb)
def add(
    account: Annotated[
        str | None, typer.Argument(metavar="[ACCOUNT]", help="Label of the account, as in the experiment file.")
    ] = None,
    venue: Annotated[str | None, typer.Argument(metavar="[VENUE]", help="Venue of the account, as in the experiment file.")] = None,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="file|keyring",
            help="The encrypted file, or the keyring of the operating system; of a wallet, where its passphrase is kept.",
        ),
    ] = "file",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the API keys that are there; never a wallet.")] = False,
    wallet: Annotated[
        str | None, typer.Option("--wallet", metavar="NAME", help="Keep a wallet instead: its private key is asked for.")
    ] = None,
    keystore: Annotated[
        Path | None, typer.Option("--keystore", metavar="FILE", help="With --wallet: take the key of this keystore (version 3).")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="With --wallet: make a new key.")] = False,
    signing: Annotated[
        str | None, typer.Option("--signing", metavar="NAME", help="Make and keep a key that signs logs instead (Ed25519).")
    ] = None,
) -> None:
    """Keep the keys of an account: asked for without echo, or a keys file (TOML) from standard input; never an argument.

    The encrypted file is XARB_KEYS_VAULT, else xarb/keys.vault in the user's folder of settings. Its passphrase comes from
    XARB_KEYS_PASSPHRASE, a private file XARB_KEYS_PASSPHRASE_FILE, or the terminal.

    With --wallet NAME a private key of a chain is kept as a keystore (version 3) in XARB_WALLETS, else xarb/wallets in the same folder. Its
    passphrase comes from XARB_WALLET_NAME_PASSPHRASE, the private file of XARB_WALLET_NAME_PASSPHRASE_FILE, or the terminal. See docs/orders.md.

    With --signing NAME a new key for xarb log sign is made and kept as API keys are; its public key is printed. See docs/log.md.
    """
    if signing is not None:
        if account is not None or replace or wallet is not None or keystore is not None or new:
            raise ConfigError("--signing NAME: alone, or with --source")
        _add_signing(signing, source)
    elif wallet is not None:
        if account is not None or replace or (new and keystore is not None):
            raise ConfigError("--wallet NAME: with --keystore FILE, or --new, or neither; without ACCOUNT, VENUE and --replace")
        _add_wallet(wallet, source, keystore, is_new=new)
    elif account is None or venue is None or keystore is not None or new:
        raise ConfigError("whose keys: ACCOUNT and VENUE, or --wallet NAME")
    else:
        _add_keys(account, venue, source, is_replacing=replace)


def _add_keys(account: str, venue: str, source: str, *, is_replacing: bool) -> None:
    from xarb.venues.keys import Keys, check_values, values_of
    from xarb.venues.vault import writable

    name = f"{account}@{venue}"
    store = writable(source, os.environ)
    if name in store.names() and not is_replacing:
        raise Refused(f"{store.name} has keys of {name}; --replace replaces them")
    if sys.stdin.isatty():
        values = {"api_key": _asked("API key"), "api_secret": _asked("API secret"), "password": _asked("Password, or empty")}
        values = {key: value for key, value in values.items() if value}
    else:
        values = values_of(_piped(), "standard input")
    values = check_values(values, "the keys")
    store.put(name, values)
    say(f"{Keys(venue, account, values)} are kept in {store.name}")


def _add_wallet(name: str, source: str, keystore: Path | None, *, is_new: bool) -> None:
    from xarb.venues.private import private_text
    from xarb.venues.vault import Keyring, check_passphrase
    from xarb.venues.wallets import account_of, add_wallet, new_account, unlock, wallet_passphrase

    if source not in {"file", "keyring"}:
        raise ConfigError(f"--source {source}: allowed: file, keyring")
    ring = Keyring.needed() if source == "keyring" else None
    text = None if keystore is None else private_text(keystore)
    if text is None and not is_new:
        account = account_of(_asked("Private key") if sys.stdin.isatty() else _piped(), "the private key")
    words = wallet_passphrase(name, os.environ, is_new=text is None)
    check_passphrase(words)
    if text is not None:
        account = unlock(text, words, str(keystore))
    elif is_new:
        account = new_account()
    made, path = add_wallet(name, account, words, os.environ)
    if ring is not None:
        ring.keep_passphrase(name, words)
    say(f"{made} is kept in {path}{', and its passphrase in the keyring' if ring is not None else ''}")
    if is_new:
        say("its key is nowhere else: copy that file to a safe place, and its passphrase to another")


def _add_signing(name: str, source: str) -> None:
    from xarb.log.signature import public_text
    from xarb.venues.signingkeys import new_seed

    seed, where = new_seed(name, source, os.environ)
    say(f"signing key {name} is kept in {where}; its public key is {public_text(seed)}")


def _asked(what: str) -> str:
    answer: str = typer.prompt(what, hide_input=True, default="", show_default=False)
    return answer.strip()


def _piped() -> str:
    text = sys.stdin.read(_LIMIT + 1)
    if len(text) > _LIMIT:
        raise ConfigError(f"standard input: more than {_LIMIT} characters")
    return text


@keys_app.command("list", cls=Verb)
def list_keys() -> None:
    """List what the keyring, the encrypted file and the environment hold: account, venue, source and fingerprint; wallets; keys that sign logs.

    A wallet's address is what its file says, which opening it proves: xarb keys check --wallet NAME. `modes` are those of the file and of its
    folder, which must be 0600 in 0700 or less; `verdict` says what keeps it from being used.
    """
    from xarb.log.signature import public_text
    from xarb.venues.signingkeys import held_seeds
    from xarb.venues.vault import held
    from xarb.venues.wallets import entries

    signing = tuple((name, source, public_text(seed)) for name, source, seed in held_seeds(os.environ))
    kept = tuple((one.name, one.address, one.file, one.modes, one.trouble or "not opened") for one in entries(os.environ))
    show(
        [
            Table("Keys", ("account", "venue", "source", "fingerprint"), tuple(held(os.environ))),
            Table("Wallets", _WALLET_HEADS, kept),
            Table("Keys that sign logs", ("name", "source", "public key"), signing),
        ]
    )


@keys_app.command("check", cls=Verb)
def check(
    experiment: Annotated[
        Path | None, typer.Argument(metavar="[EXPERIMENT.toml]", help="Experiment file; see experiments/ and docs/config.md.")
    ] = None,
    wallet: Annotated[
        list[str] | None, typer.Option("--wallet", metavar="NAME", help="Open this wallet, too, or alone. May be repeated.")
    ] = None,
    settings: SetOption = None,
) -> None:
    """Ask the exchanges of an experiment what the keys of its accounts may do, and open wallets.

    Exit code 1 when a key may not trade, or may withdraw (or that is not known) and live.allow_withdraw does not name its account; 2 when a
    wallet cannot be opened, or its key is of another address than its file says.
    """
    if experiment is None and not wallet:
        raise ConfigError("what is to be checked: EXPERIMENT.toml, or --wallet NAME")
    if wallet:
        _check_wallets(wallet)
    if experiment is None:
        return
    from xarb.config import load_experiment
    from xarb.verbs.check.live import check_keys

    tables, objections = check_keys(load_experiment(experiment, overrides_of(settings)))
    show(tables)
    if objections:
        raise Refused("no real orders: " + "; ".join(objections))


_WALLET_HEADS: Final = ("wallet", "address", "file", "modes", "verdict")


def _check_wallets(names: list[str]) -> None:
    from xarb.venues.wallets import entries, open_wallet

    there = {one.name: one for one in entries(os.environ)}
    rows = []
    for name in names:
        opened = open_wallet(name, os.environ)
        rows.append((name, opened.address, there[name].file, there[name].modes, "opens, and its key is of this address"))
    show([Table("Wallets", _WALLET_HEADS, tuple(rows))])
