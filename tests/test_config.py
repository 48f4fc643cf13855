"""Experiment files: exact values, named errors, and where each value came from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from xarb.config import DEFAULT, FILE, Experiment, load_experiment, settings
from xarb.errors import ConfigError

STRATEGY = """
[strategies.cross]
kind = "micro"
min_profit_bps = 2.5
min_profit_quote = "0.1"
max_notional_quote = 1000
"""
WHOLE = f"""
[run]
log = "recording"
seed = 3

[feeds]
liveness_ms = 750

[venues.alpha]
fees = "alpha-spot"
order_latency = {{ constant_ms = 12.5 }}
feeds = {{ quality_floor = 700 }}

[accounts.main.alpha]
BTC = 2.000000000000000001
USDT = 100000
{STRATEGY}
"""


def load(tmp_path: Path, text: str, overrides: dict[str, str] | None = None) -> Experiment:
    """The experiment in `text`."""
    path = tmp_path / "trial.toml"
    path.write_text(text)
    return load_experiment(path, overrides)


def refusal(tmp_path: Path, text: str) -> str:
    """The message with which `text` is refused."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_decimal_number_is_read_exactly(tmp_path: Path) -> None:
    """A number with eighteen decimals keeps all of them: no float takes part."""
    assert load(tmp_path, WHOLE).accounts["main"]["alpha"]["BTC"] == Decimal("2.000000000000000001")


def test_number_text_and_integer_mean_the_same(tmp_path: Path) -> None:
    """2.5, "2.5" and 2.50 give one effective config, and so one run id."""
    made = [settings(load(tmp_path, WHOLE.replace("= 2.5\n", f"= {way}\n"))) for way in ("2.5", '"2.5"', "2.50")]
    assert made[0] == made[1] == made[2]


def test_time_may_be_written_as_toml_writes_times(tmp_path: Path) -> None:
    """A bare TOML time and its text mean the same, in the file and on the command line."""
    bare, text = (
        load(tmp_path, f"[run]\nstart = {way}\n").run.start for way in ("2024-08-08T23:55:00+00:00", '"2024-08-08T23:55:00+00:00"')
    )
    given = load(tmp_path, "", {"run.start": "2024-08-08T23:55:00+00:00"}).run.start
    assert bare == text == given == "2024-08-08T23:55:00+00:00"


def test_source_of_each_value_is_named(tmp_path: Path) -> None:
    """A value says whether it stands in the file, on the command line or is a default."""
    found = {one.key: (one.value, one.source) for one in settings(load(tmp_path, WHOLE, {"run.seed": "9"}))}
    assert found["run.seed"] == ("9", "command line")
    assert found["feeds.liveness_ms"] == ("750", FILE)
    assert found["feeds.score_ms"] == ("1000", DEFAULT)
    assert found["strategies.cross.max_open_bundles"] == ("10", DEFAULT)
    assert found["venues.alpha.feeds.quality_floor"] == ("700", FILE)


def test_venue_feed_keys_replace_the_general_ones(tmp_path: Path) -> None:
    """A venue's own feed keys win over [feeds], which win over the defaults."""
    feeds = load(tmp_path, WHOLE).venue_feeds["alpha"]
    assert (feeds.quality_floor, feeds.liveness_ms, feeds.freeze_moves) == (700, Decimal(750), 20)


def test_venue_breaker_keys_replace_the_general_ones(tmp_path: Path) -> None:
    """A venue's own breaker keys win over [breakers], which win over the defaults; each is shown with its source."""
    text = WHOLE.replace("[feeds]", "[breakers]\nrejects = 4\nunknown = 2\n\n[feeds]")
    found = load(tmp_path, text, {"venues.alpha.breakers.rejects": "3"})
    assert (found.breakers.rejects, found.breakers.unknown) == (4, 2)
    mine = found.venue_breakers["alpha"]
    assert (mine.rejects, mine.unknown, mine.pause_ms) == (3, 2, Decimal(60_000))
    shown = {one.key: (one.value, one.source) for one in settings(found)}
    assert shown["venues.alpha.breakers.rejects"] == ("3", "command line")
    assert shown["breakers.rejects"] == ("4", FILE)
    assert shown["breakers.errors"] == ("20", DEFAULT)
    assert "venues.alpha.breakers.unknown" not in shown


@pytest.mark.parametrize("key", ["min_profit_bps", "min_profit_quote", "max_notional_quote"])
def test_limit_without_default_must_be_stated(tmp_path: Path, key: str) -> None:
    """What decides over money has no default."""
    lines = [line for line in STRATEGY.splitlines() if not line.startswith(key)]
    assert f"strategies.cross.{key} is missing" in refusal(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[walk]", "unknown section 'walk'; allowed: run, feeds"),
        ("[run]\nsed = 1", "unknown key run.sed; allowed: log, seed"),
        ('[run]\nseed = "x"', "run.seed = x"),
        ("[run]\nseed = true", "run.seed"),
        ("[feeds]\nliveness_ms = -1", "feeds.liveness_ms = -1: allowed are numbers from 0 on"),
        ("[feeds]\nliveness_ms = nan", "feeds.liveness_ms"),
        ("[feeds]\nliveness_ms = inf", "feeds.liveness_ms"),
        ("[feeds]\nliveness_ms = 1e99", "feeds.liveness_ms"),
        ("[feeds]\nfreeze_moves = 1.5", "feeds.freeze_moves = 1.5"),
        ("[feeds]\nquality_floor = 1001", "feeds.quality_floor"),
        ("[breakers]\nreject = 1", "unknown key breakers.reject; allowed: errors"),
        ("[breakers]\npause_ms = 0", "breakers.pause_ms = 0: allowed are numbers above 0"),
        ("[breakers]\nerror_recovery_ms = 0", "breakers.error_recovery_ms = 0: allowed are numbers above 0"),
        ("[breakers]\nmin_feed_score = 1001", "breakers.min_feed_score"),
        ("breakers = 1", "breakers must be a table"),
        ('[venues.alpha]\nfees = "x"\nbreakers = { reject = 1 }', "unknown key venues.alpha.breakers.reject"),
        ("[venues]\nalpha = 1", "venues must be written as [venues.NAME] tables"),
        ("[venues.alpha]", "venues.alpha.fees is missing"),
        ('[venues.alpha]\nfees = "x"\nfeeds = { livness_ms = 1 }', "unknown key venues.alpha.feeds.livness_ms"),
        ('[venues.alpha]\nfees = "x"\nbook_source = "tape"', "venues.alpha.book_source = tape: allowed: deltas, books, quotes"),
        (STRATEGY.replace("micro", "macro"), "strategies.cross.kind = macro: allowed: micro"),
        (STRATEGY + "max_levels = 0\n", "strategies.cross.max_levels"),
        (STRATEGY + "budget = { USDT = -5 }\n", "strategies.cross.budget"),
        ("[accounts]\nmain = 1", "accounts"),
        ("[accounts.main.alpha]\nBTC = -1", "accounts.main.alpha.BTC = -1"),
        ("[run", "no valid TOML"),
    ],
)
def test_wrong_value_is_an_error_that_names_the_key(tmp_path: Path, text: str, part: str) -> None:
    """Each wrong input is refused with its key and what is allowed."""
    assert part in refusal(tmp_path, text)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error with its path."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_experiment(tmp_path / "nowhere.toml")


def test_addresses_are_overridden_as_they_are_written() -> None:
    """--set takes an address without quotation marks; TOML alone would read a number from it."""
    address = "0x00000000000000000000000000000000000000a1"
    plain, quoted = (
        load_experiment(Path("experiments/cex_dex.toml"), {"onchain.local.wrapped": text}) for text in (address, f'"{address}"')
    )
    assert plain.onchain["local"].own.wrapped == quoted.onchain["local"].own.wrapped == address


def test_override_below_a_value_is_refused(tmp_path: Path) -> None:
    """--set cannot make a table of a value."""
    with pytest.raises(ConfigError, match="seed is no table"):
        load(tmp_path, WHOLE, {"run.seed.more": "1"})


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("min_profit_bps = 0.000001", "strategies.cross.min_profit_bps = 0.000001"),
        ("min_profit_bps = 1000000000", "strategies.cross.min_profit_bps = 1000000000"),
        ("scan_ms = 0.0000001", "strategies.cross.scan_ms = 1E-7"),
        ("scan_ms = 100000000000", "strategies.cross.scan_ms = 100000000000"),
        ("min_profit_bps = -1", "strategies.cross.min_profit_bps = -1"),
        ('min_profit_bps = "nan"', "strategies.cross.min_profit_bps = NaN"),
        ("min_profit_bps = 1e-999999", "strategies.cross.min_profit_bps = 1E-999999"),
        ("budget = { BTC = 0.0000000000000000001 }", "strategies.cross.budget.BTC = 1E-19"),
        ("budget = { BTC = 1000000000000000000 }", "strategies.cross.budget.BTC = 1000000000000000000"),
        ("max_attempts = 1000000001", "strategies.cross.max_attempts = 1000000001"),
    ],
)
def test_number_that_its_unit_cannot_hold_is_refused_by_name(tmp_path: Path, line: str, names: str) -> None:
    """More decimals than the unit is kept at, or a value that no sum could hold, is an error at once and not a crash later."""
    key = line.partition(" ")[0]
    text = "\n".join(one for one in WHOLE.splitlines() if not one.startswith(key)) + f"\n{line}\n"
    assert names in refusal(tmp_path, text)


@pytest.mark.parametrize("line", ["scan_ms = 0.000001", "min_profit_bps = 2.000010000", "budget = { BTC = 999999999999999999.5 }"])
def test_finest_and_largest_numbers_of_a_unit_are_taken(tmp_path: Path, line: str) -> None:
    """A nanosecond, a part per billion and eighteen digits before the point are exact, trailing zeros or not."""
    key = line.partition(" ")[0]
    text = "\n".join(one for one in WHOLE.splitlines() if not one.startswith(key)) + f"\n{line}\n"
    assert load(tmp_path, text).strategies["cross"]


@pytest.mark.parametrize(("key", "value"), [("run.seed", "9223372036854775808"), ("run.seed", "-1"), ("pegs.USD", "nan")])
def test_seed_and_peg_are_bounded(tmp_path: Path, key: str, value: str) -> None:
    """A seed is an int64 from 0 on; a peg is a finite number."""
    with pytest.raises(ConfigError, match=key):
        load(tmp_path, WHOLE, {key: value})


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('[live]\napi_key = "canary"', "live.api_key"),
        ('[accounts.main.alpha]\nsecret = "canary"', "accounts.main.alpha.secret"),
        ('[venues.alpha]\nfees = "x"\nfeeds = { password = "canary" }', "venues.alpha.feeds.password"),
        ('[[alerts]]\nkind = "telegram"\ntoken = "canary"', "alerts.token"),
        ('[live]\nprivate = "canary"', "live.private"),
        ('[live]\nprivate_key = "canary"', "live.private_key"),
        ('key = "canary"', "key"),
        ('[live]\nallow_withdraw = { password = ["canary"] }', "live.allow_withdraw.password"),
    ],
)
def test_secret_in_a_config_is_refused_by_name(tmp_path: Path, lines: str, key: str) -> None:
    """The message names the key and what to do, and does not show the value; on the command line too."""
    with pytest.raises(ConfigError, match=f"{key} looks like a secret.*xarb keys add") as error:
        load(tmp_path, lines)
    assert "canary" not in str(error.value)
    with pytest.raises(ConfigError, match=r"live\.api_secret looks like a secret") as error:
        load(tmp_path, STRATEGY, {"live.api_secret": "canary"})
    assert "canary" not in str(error.value)


HEX = "c0ffee" * 10 + "cafe"


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (f'[live]\nnote = "{HEX}"', "live.note"),
        (f'[run]\nlog = "0x{HEX.upper()}"', "run.log"),
        (f'[[alerts]]\nkind = "webhook"\nurl = "https://x/{HEX}?a"', "alerts.url"),
        (f'[[alerts]]\nkind = "command"\ncommand = ["sign", "--with={HEX}"]', "alerts.command"),
        ("[live]\nnote = " + '"""-----BEGIN EC PRIVATE KEY-----\ncoffee\n"""', "live.note"),
        ('[markets.okx]\nrest_url = "https://me:coffee@host"', "markets.okx.rest_url"),
        ('[markets.okx]\nrest_url = "wss://node.example/v3/coffee0123456789coffee0123456789"', "markets.okx.rest_url"),
        ('[[alerts]]\nkind = "webhook"\nurl = "https://x/services/T0/B0/coffee0123456789coffee01"', "alerts.url"),
        ('[markets.okx]\nrest_url = "https://node.example/rpc?x=1&apikey=coffee"', "markets.okx.rest_url"),
    ],
)
def test_private_key_in_a_config_is_refused_whatever_its_name(tmp_path: Path, lines: str, key: str) -> None:
    """64 hexadecimal digits, a PEM block, an address with a password; on the command line too. No text shows them."""
    with pytest.raises(ConfigError, match=f"{key} looks like a secret") as error:
        load(tmp_path, lines)
    with pytest.raises(ConfigError, match=r"run\.log looks like a secret") as other:
        load(tmp_path, STRATEGY, {"run.log": HEX})
    for text in (str(error.value), str(other.value)):
        assert "coffee" not in text
        assert HEX not in text


def test_hash_in_a_config_is_no_private_key(tmp_path: Path) -> None:
    """A value called by what it is, and one with another number of digits, get as far as any unknown key."""
    for line in (f'pool_id = "0x{HEX}"', f'hash = "{HEX}"', f'note = "{HEX[:-1]}"', f'note = "{HEX}0"'):
        with pytest.raises(ConfigError, match=r"unknown key live\."):
            load(tmp_path, f"[live]\n{line}")


def test_assets_named_as_secrets_are_assets(tmp_path: Path) -> None:
    """KEY and TOKEN are coins."""
    text = STRATEGY + '[accounts.main.alpha]\nKEY = "5"\nTOKEN = "7"\n'
    assert load(tmp_path, text).accounts["main"]["alpha"] == {"KEY": Decimal(5), "TOKEN": Decimal(7)}
