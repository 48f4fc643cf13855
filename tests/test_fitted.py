"""Model files: what a venue's section takes from one, what it does not, and what is refused."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest

from tests.test_config import WHOLE, load
from tests.trial import Trial, usual
from xarb.config import Experiment, read_draft, settings
from xarb.config.fitted import read_model
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.settings import venue_model
from xarb.venues.terms import ConstantLatency, TableLatency

MODEL = """
version = 1

[[logs]]
name = "yesterday"
log_id = "0123"
digest = "4567"
start = 1
begin = "2026-01-05T00:00:00Z"
end = "2026-01-05T01:00:00Z"

[venues.alpha]
order_latency = { table_ms = [1, 2.5, 9] }
response_latency = { constant_ms = 3 }
reject_bps = { busy = 12.5 }
fill_share_bps = [0, 5000, 10000]

[venues.alpha.counts]
order_latency = 3
"""
NAMED = WHOLE.replace('fees = "alpha-spot"', 'fees = "alpha-spot"\nmodel = "models/alpha.toml"')


def fitted(tmp_path: Path, text: str = NAMED, model: str = MODEL, overrides: dict[str, str] | None = None) -> Experiment:
    """The experiment beside its model file."""
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "alpha.toml").write_text(model)
    return load(tmp_path, text, overrides)


def test_a_section_takes_what_it_does_not_say(tmp_path: Path) -> None:
    """Its own order latency stands, the model's other figures take the places of defaults, and what neither says stays a default."""
    loaded = fitted(tmp_path)
    model = venue_model(loaded.venues["alpha"], "venues.alpha", added_ns=0)
    assert model.order_latency == ConstantLatency(12_500_000)
    assert model.response_latency == ConstantLatency(3_000_000)
    assert model.refusals == (("busy", 1_250_000),)
    assert model.fill_shares == (0, 500_000_000, 1_000_000_000)
    assert model.feed_latency == ConstantLatency(5_000_000)
    found = {one.key: one.source for one in settings(loaded)}
    assert found["venues.alpha.order_latency.constant_ms"] == "file"
    assert found["venues.alpha.response_latency.constant_ms"] == "model file"
    assert found["venues.alpha.fill_share_bps"] == "model file"


def test_the_command_line_goes_before_the_model(tmp_path: Path) -> None:
    """A key of --set replaces the model's as a whole; one of another kind does not stand beside it."""
    plain = NAMED.replace("order_latency = { constant_ms = 12.5 }\n", "")
    model = venue_model(fitted(tmp_path, plain).venues["alpha"], "venues.alpha", added_ns=0)
    assert model.order_latency == TableLatency((1_000_000, 2_500_000, 9_000_000))
    other = fitted(tmp_path, plain, overrides={"venues.alpha.order_latency.constant_ms": "4"})
    assert venue_model(other.venues["alpha"], "venues.alpha", added_ns=0).order_latency == ConstantLatency(4_000_000)


def test_the_digest_pins_the_file(tmp_path: Path) -> None:
    """A run notes the digest of the bytes; a section that names another one is refused."""
    digest = hashlib.sha256(MODEL.encode()).hexdigest()
    assert fitted(tmp_path).venues["alpha"].model_sha256 == digest
    pinned = NAMED.replace('.toml"', f'.toml"\nmodel_sha256 = "{digest}"')
    assert fitted(tmp_path, pinned).venues["alpha"].model_sha256 == digest
    with pytest.raises(ConfigError, match=r"alpha\.toml has the digest .*: it was changed"):
        fitted(tmp_path, pinned, MODEL + "\n")


def test_a_draft_reads_a_model_once(tmp_path: Path) -> None:
    """Experiments of one draft have one model, whatever becomes of the file meanwhile."""
    fitted(tmp_path)
    draft = read_draft(tmp_path / "trial.toml")
    first = draft.experiment()
    (tmp_path / "models" / "alpha.toml").write_text(MODEL.replace("12.5", "80"))
    assert draft.experiment() == first
    assert read_draft(tmp_path / "trial.toml").experiment().venues != first.venues


@pytest.mark.parametrize(
    ("text", "model", "message"),
    [
        (NAMED, MODEL.replace("version = 1", "version = 2"), "no model file of version 1"),
        (NAMED, MODEL.replace("version = 1", ""), "no model file of version 1"),
        (NAMED, MODEL + "\n[more]\n", "no model file of version 1"),
        (NAMED, MODEL.replace("venues.alpha", "venues.bravo"), "alpha.toml: it is of bravo"),
        (NAMED, MODEL.replace("reject_bps", "rejects"), r"unknown key venues\.alpha\.rejects"),
        (NAMED, MODEL.replace("12.5", "-1"), r"venues\.alpha\.reject_bps\.busy = -1"),
        (NAMED, MODEL.replace("log_id", "identity"), r"unknown key logs number 1\.identity"),
        (NAMED.replace("models/alpha", "models/none"), MODEL, "none.toml: cannot be read"),
        (NAMED.replace('model = "models/alpha.toml"', 'model_sha256 = "12"'), MODEL, r"venues\.alpha\.model, which is missing"),
        (NAMED.replace('"models/alpha.toml"', "3"), MODEL, "allowed is the path of a model file"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, model: str, message: str) -> None:
    """Each message names the file and what is wrong with it."""
    with pytest.raises(ConfigError, match=message):
        fitted(tmp_path, text, model)


def test_a_run_holds_what_the_model_said(tmp_path: Path) -> None:
    """The header of a run has the figures and the digest, not the path, and the orders were late as the model says."""
    trial = Trial(tmp_path)
    log = trial.log(usual(), "modelled")
    model = tmp_path / "model.toml"
    model.write_text("version = 1\n[venues.alpha]\nresponse_latency = { constant_ms = 321 }\n[venues.bravo]\n")
    experiment = trial.experiment(log)
    keys = {f"venues.{venue}.model": '"model.toml"' for venue in ("alpha", "bravo")}
    run = trial.run(experiment, keys)
    waits = {row["ts"] - sent["ts"] for row in run["sim_reports"] for sent in run["commands"] if row["order"] == sent["order"]}
    assert max(waits) >= 321_000_000
    with LogReader(tmp_path / "run1") as reader:
        config = reader.header.config
    assert config is not None
    assert config["venues"]["alpha"]["response_latency"] == {"constant_ms": "321"}
    assert config["venues"]["alpha"]["model_sha256"] == read_model(model).digest
    assert "model" not in config["venues"]["alpha"]
    assert config["venues"]["alpha"].get("fill_share_bps") is None
    assert Decimal(config["venues"]["bravo"]["response_latency"]["constant_ms"]) < 321
