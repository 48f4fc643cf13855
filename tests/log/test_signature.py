"""A signed head of a log: made with a kept key, believed by its public key alone, and good for that log up to that line."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.log.logs import HEADER, small_log
from xarb.cli import app
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.log.manifest import NAME, Manifest, last_digest
from xarb.log.signature import beside, public_text, read_signature, sign, write_signature

WORDS = "correct horse battery"
SEED = bytes(range(32))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A file of keys of its own, and its passphrase."""
    return {"XARB_KEYS_VAULT": str(tmp_path / "keys" / "keys.vault"), "XARB_KEYS_PASSPHRASE": WORDS, "HOME": str(tmp_path)}


def ran(environment: dict[str, str], *words: str | Path) -> tuple[int, str]:
    """Exit code and output of a command; of an error its text."""
    done = CliRunner().invoke(app, [str(word) for word in words], env=environment, terminal_width=300)
    return done.exit_code, done.output + str(done.exception or "")


def test_a_log_is_signed_and_its_signature_believed(tmp_path: Path, environment: dict[str, str]) -> None:
    """Made, listed, signed, verified; nothing shows the seed, the vault has it sealed, and the same key has the same public text."""
    log = small_log(tmp_path / "log")
    code, told = ran(environment, "keys", "add", "--signing", "desk")
    assert code == 0
    public = told.split()[-1]
    assert public.startswith("ed25519:")
    assert public in ran(environment, "keys", "list")[1]
    code, told = ran(environment, "log", "sign", log, "--key", "desk")
    assert (code, last_digest(log) in told) == (0, True)
    assert read_signature(tmp_path / "log.sig").signed_by == public
    code, told = ran({}, "log", "verify", log, "--signed-by", public)
    assert (code, "nothing behind it" in told) == (0, True)
    assert ran(environment, "keys", "add", "--signing", "desk")[0] == 1
    assert b"seed" not in (tmp_path / "keys" / "keys.vault").read_bytes()


def test_what_was_signed_must_be_there(tmp_path: Path) -> None:
    """A log that lost its last segment, another log, another key, and a changed signature are refused; what was added later is told as not covered."""
    log = small_log(tmp_path / "log")
    signature = sign(log, SEED)
    write_signature(signature, beside(log))
    public = public_text(SEED)
    shorter = tmp_path / "shorter"
    shutil.copytree(log, shorter)
    lines = (shorter / NAME).read_bytes().splitlines(keepends=True)
    (shorter / NAME).write_bytes(b"".join(lines[:-1]))
    for name in (word.split(b'"')[0].decode() for word in lines[-1].split(b'"path":"')[1:]):
        (shorter / name).unlink()
    code, told = ran({}, "log", "verify", shorter, "--signed-by", public, "--signature", beside(log))
    assert (code, "what was signed is not there" in told) == (1, True)
    early = sign(shorter, SEED)
    write_signature(early, beside(log))
    code, told = ran({}, "log", "verify", log, "--signed-by", public)
    assert (code, "1 lines behind it are not covered" in told) == (0, True)
    code, told = ran({}, "log", "verify", log, "--signed-by", public_text(bytes(32)))
    assert (code, "it is not of that key" in told) == (1, True)
    for changed in ({"digest": Manifest(log).heads[0]}, {"log_id": "other"}, {"signature": "AA=="}, {"signature": "?"}):
        write_signature(msgspec.structs.replace(signature, **changed), beside(log))
        code, told = ran({}, "log", "verify", log, "--signed-by", public)
        assert (code, "it is not of that key" in told) == (1, True), changed


def test_a_signature_of_another_log_is_none_of_this(tmp_path: Path) -> None:
    """Its key is right, and the log is not the one that it names."""
    log, other = small_log(tmp_path / "log"), tmp_path / "other"
    LiveLog.create(other, msgspec.structs.replace(HEADER, log_id="ffffffff"), Policy(by_hand=True, reserve_bytes=0)).close()
    write_signature(sign(other, SEED), beside(log))
    code, told = ran({}, "log", "verify", log, "--signed-by", public_text(SEED))
    assert (code, "it is of another log" in told) == (1, True)


def test_what_is_no_signature_no_key_and_no_name_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    """With exit code 2 and a word on what is wrong; a file that is something else is not replaced."""
    log = small_log(tmp_path / "log")
    public = public_text(SEED)
    assert ran({}, "log", "verify", log, "--signed-by", public)[1].count("cannot be read") == 1
    for text in ("", "{}", "[" * 5000, '{"format":"xarb-log-signature-2"}'):
        beside(log).write_text(text)
        assert "no signature of a log" in ran({}, "log", "verify", log, "--signed-by", public)[1]
    write_refused = ran(environment, "keys", "add", "--signing", "desk")
    assert write_refused[0] == 0
    assert "no signature of a log" in ran(environment, "log", "sign", log, "--key", "desk")[1]
    assert beside(log).read_text() == '{"format":"xarb-log-signature-2"}'
    write_signature(sign(log, SEED), tmp_path / "good.sig")
    for key in ("", "ed25519:", "ed25519:AAAA", "ed25519:?", "a" * 64):
        assert "no public key" in ran({}, "log", "verify", log, "--signed-by", key, "--signature", tmp_path / "good.sig")[1]
    assert "--signed-by PUBKEY" in ran({}, "log", "verify", log, "--signature", tmp_path / "good.sig")[1]
    assert "no signing key other" in ran(environment, "log", "sign", log, "--key", "other", "--to", tmp_path / "x.sig")[1]
    assert "lower-case letters" in ran(environment, "keys", "add", "--signing", "Desk@x")[1]
    assert "alone, or with --source" in ran(environment, "keys", "add", "main", "okx", "--signing", "desk")[1]
    assert ran(environment, "keys", "list")[1].count("@") == 0
