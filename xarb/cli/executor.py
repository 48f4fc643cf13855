"""The commands that put our contract on a chain, give it tokens and take them back."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from xarb.cli.parts import ExperimentPath, SetOption, Verb, app, overrides_of
from xarb.console import say, show
from xarb.errors import ConfigError

if TYPE_CHECKING:
    from xarb.console import Table

executor_app = typer.Typer(
    name="executor",
    help="Put our contract on a chain, give it tokens, take them back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(executor_app)
Chain = Annotated[str, typer.Option("--chain", metavar="NAME", help="Which [chains.NAME] of the file.")]
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="Address of the token, one of sending.tokens.")]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="Whole tokens, such as 1.5.")]
Send = Annotated[bool, typer.Option("--send", help="Send it; without this it is only shown.")]


@executor_app.command("deploy", cls=Verb)
def deploy(
    experiment: ExperimentPath,
    chain: Chain,
    wallet: Annotated[str, typer.Option("--wallet", metavar="NAME", help="Wallet that pays for it, and will own it.")],
    max_fee_gwei: Annotated[
        str, typer.Option("--max-fee-gwei", metavar="GWEI", help="Most that is bid for each gas, as sending.max_fee_gwei.")
    ] = "100",
    send: Send = False,
    settings: SetOption = None,
) -> None:
    """Compile the contract, see that it is the code that was tested, and put it on a chain; its address goes into sending.executor.

    Needs the compiler (pip install "xarb[deploy]") and a wallet of `xarb keys add --wallet`. See docs/sending.md.
    """
    from xarb.config import load_experiment
    from xarb.verbs.executor import deploy as run_deploy

    try:
        most = Decimal(max_fee_gwei)
    except InvalidOperation:
        raise ConfigError(f"--max-fee-gwei {max_fee_gwei}: not a number") from None
    if not most.is_finite() or most <= 0:
        raise ConfigError(f"--max-fee-gwei {max_fee_gwei}: must be above 0")
    found = load_experiment(experiment, overrides_of(settings))
    _print(run_deploy(found, chain, wallet=wallet, max_fee_gwei=most, send=send), is_sent=send)


@executor_app.command("fund", cls=Verb)
def fund(
    experiment: ExperimentPath, token: Token, amount: Amount, chain: Chain, send: Send = False, settings: SetOption = None
) -> None:
    """Give the executor tokens of the wallet of [chains.NAME.sending], for `financing = "wallet"` and for cex_dex.

    Refused for a token that is not among sending.tokens, for an executor that is not the wallet's, and while a session of this machine sends from
    the wallet or a transaction of it waits. See docs/sending.md.
    """
    from xarb.config import load_experiment
    from xarb.verbs.executor import fund as run_fund

    _print(run_fund(load_experiment(experiment, overrides_of(settings)), chain, token, amount, send=send), is_sent=send)


@executor_app.command("withdraw", cls=Verb)
def withdraw(
    experiment: ExperimentPath, token: Token, amount: Amount, chain: Chain, send: Send = False, settings: SetOption = None
) -> None:
    """Take tokens from the executor back to the wallet of [chains.NAME.sending], which owns it.

    Refused as `xarb executor fund` is. See docs/sending.md.
    """
    from xarb.config import load_experiment
    from xarb.verbs.executor import withdraw as run_withdraw

    _print(run_withdraw(load_experiment(experiment, overrides_of(settings)), chain, token, amount, send=send), is_sent=send)


def _print(tables: list[Table], *, is_sent: bool) -> None:
    show(tables)
    if not is_sent:
        say("nothing was sent; --send sends it")
