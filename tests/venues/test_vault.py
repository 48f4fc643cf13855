"""The stores of keys: what they keep, whom they refuse, and that an encrypted file shows and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.imports.conftest import ROOT
from xarb.errors import ConfigError
from xarb.venues.keys import load_keys
from xarb.venues.vault import Keyring, Vault, held, passphrase_of, stores_of, vault_path, writable

VALUES = {"api_key": "canary-key", "api_secret": "canary-secret", "password": "canary-word"}
WORDS = "correct horse battery"


def vault(folder: Path, words: str = WORDS) -> Vault:
    """The file of a private folder."""
    return Vault(folder / "keys" / "keys.vault", lambda: words)


def environment(folder: Path) -> dict[str, str]:
    """Where that file is, and its passphrase."""
    return {"XARB_KEYS_VAULT": str(folder / "keys" / "keys.vault"), "XARB_KEYS_PASSPHRASE": WORDS}


def test_file_gives_back_what_was_put_and_shows_nothing(tmp_path: Path) -> None:
    """Two accounts, one replaced; the file and its folder are ours alone, hold no value in the clear, and nothing lies beside it."""
    vault(tmp_path).put("main@okx", {"api_key": "old", "api_secret": "old"})
    vault(tmp_path).put("desk@binance", {"api_key": "k", "api_secret": "s"})
    vault(tmp_path).put("main@okx", VALUES)
    again = vault(tmp_path)
    assert again.names() == ["desk@binance", "main@okx"]
    assert again.get("main@okx") == VALUES
    assert again.get("main@binance") is None
    file = tmp_path / "keys" / "keys.vault"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert b"canary" not in file.read_bytes()
    assert [one.name for one in file.parent.iterdir()] == ["keys.vault"]


def test_wrong_passphrase_and_every_changed_byte_are_refused(tmp_path: Path) -> None:
    """Whatever byte of the file is another, the names in the clear among them, nothing comes out of it; no text shows a value."""
    vault(tmp_path).put("main@okx", VALUES)
    with pytest.raises(ConfigError, match="wrong passphrase, or the file is damaged"):
        vault(tmp_path, "another one").get("main@okx")
    file = tmp_path / "keys" / "keys.vault"
    whole = file.read_bytes()
    at = whole.index(b'"names":["main@okx"]')
    places = [
        whole.index(b'"sealed":"') + 12,
        len(whole) - 9,
        whole.index(b'"salt":"') + 9,
        whole.index(b'"nonce":"') + 10,
        0,
        at + 3,
    ]
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ConfigError, match="damaged") as error:
            vault(tmp_path).get("main@okx")
        assert "canary" not in str(error.value)
    file.write_bytes(whole.replace(b"main@okx", b"main@abc"))
    with pytest.raises(ConfigError, match="damaged"):
        vault(tmp_path).get("main@abc")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"memory_kib":65536', b'"memory_kib":99999999', "more work"),
        (b'"passes":3', b'"passes":4000', "more work"),
        (b"xarb-keys-1", b"xarb-keys-2", "format"),
        (b"{", b" " * (1 << 20) + b"{", "at most 1048576"),
    ],
)
def test_file_that_asks_for_too_much_is_refused(tmp_path: Path, old: bytes, new: bytes, words: str) -> None:
    """A size, memory or time that no file of ours has is refused before it is spent."""
    vault(tmp_path).put("main@okx", VALUES)
    file = tmp_path / "keys" / "keys.vault"
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        vault(tmp_path).get("main@okx")


def test_file_or_folder_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Reading and writing alike."""
    vault(tmp_path).put("main@okx", VALUES)
    file = tmp_path / "keys" / "keys.vault"
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        vault(tmp_path).names()
    file.chmod(0o600)
    file.parent.chmod(0o755)
    with pytest.raises(ConfigError, match="mode 0755"):
        vault(tmp_path).get("main@okx")
    with pytest.raises(ConfigError, match="mode 0755"):
        vault(tmp_path).put("a@b", VALUES)


def test_short_passphrase_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """Seven characters."""
    with pytest.raises(ConfigError, match="shorter than 8"):
        vault(tmp_path, "1234567").put("main@okx", VALUES)
    assert list((tmp_path / "keys").iterdir()) == []


def test_keys_come_from_the_file_before_the_environment(tmp_path: Path) -> None:
    """An account that the file has not is looked for in the environment, and needs no passphrase."""
    place = environment(tmp_path)
    assert stores_of(place) == []
    vault(tmp_path).put("main@okx", VALUES)
    variables = place | {"XARB_OKX_MAIN_API_KEY": "e", "XARB_OKX_MAIN_API_SECRET": "e"}
    found = load_keys("okx", "main", environment=variables, stores=stores_of(variables))
    assert found.credentials() == {"apiKey": "canary-key", "secret": "canary-secret", "password": "canary-word"}
    other = {"XARB_OKX_DESK_API_KEY": "e", "XARB_OKX_DESK_API_SECRET": "e", "XARB_KEYS_VAULT": place["XARB_KEYS_VAULT"]}
    assert load_keys("okx", "desk", environment=other, stores=stores_of(other)).credentials() == {"apiKey": "e", "secret": "e"}
    rows = held(variables)
    assert [row[:2] for row in rows] == [("main", "okx"), ("XARB_OKX_MAIN_*", "-")]
    assert rows[0][3] == found.fingerprint
    assert "canary" not in str(rows)


def test_passphrase_comes_from_a_variable_or_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without either, and without a terminal, the message says what to set."""
    file = tmp_path / "words"
    file.write_text(f"{WORDS}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644"):
        passphrase_of({"XARB_KEYS_PASSPHRASE_FILE": str(file)})
    file.chmod(0o600)
    assert passphrase_of({"XARB_KEYS_PASSPHRASE_FILE": str(file)}) == WORDS
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        passphrase_of({"XARB_KEYS_PASSPHRASE_FILE": str(file)})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(ConfigError, match="set XARB_KEYS_PASSPHRASE"):
        passphrase_of({})
    assert vault_path({"HOME": "/h"}) == Path("/h/.config/xarb/keys.vault")
    assert vault_path({}) is None


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("words", "words"),
        ("words\n", "words"),
        ("words\r\n", "words"),
        ("words\n\n", "words\n"),
        (" words ", " words "),
        ("words\r", "words\r"),
        ("two words\n", "two words"),
    ],
)
def test_blanks_are_a_part_of_a_passphrase_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, taken: str
) -> None:
    """Of a file one newline at its end is none of it, of a variable nothing is; what nobody sees is said, without the words."""
    file = tmp_path / "words"
    file.touch(mode=0o600)
    file.write_bytes(written.encode())
    assert passphrase_of({"XARB_KEYS_PASSPHRASE_FILE": str(file)}) == taken
    said = capsys.readouterr().err
    assert ("begins or ends with a blank" in said) == (taken != taken.strip())
    assert "words in" not in said.replace(str(file), "")
    assert passphrase_of({"XARB_KEYS_PASSPHRASE": written}) == written
    assert ("XARB_KEYS_PASSPHRASE begins or ends" in capsys.readouterr().err) == (written != written.strip())


class _Backend:
    """A keyring's two methods over a dict; one that is locked raises what it was handed."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, name: str) -> str | None:
        """As the package has it."""
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, value: str) -> None:
        """As the package has it."""
        if self.is_locked:
            raise RuntimeError(f"cannot keep {value}")
        self.kept[service, name] = value


def test_keyring_keeps_and_names_entries_and_tells_no_value() -> None:
    """What is put comes back; a keyring that fails is an error without the backend's words."""
    backend = _Backend()
    ring = Keyring(backend)
    ring.put("main@okx", VALUES)
    assert (ring.names(), ring.get("main@okx"), ring.get("a@b")) == (["main@okx"], VALUES, None)
    backend.is_locked = True
    with pytest.raises(ConfigError, match=r"cannot be used \(RuntimeError\)") as error:
        ring.put("main@okx", VALUES)
    assert "canary" not in str(error.value)
    backend.kept["xarb", "keys main@okx"] = "canary"
    with pytest.raises(ConfigError, match="something else"):
        ring.get("main@okx")


def test_keyring_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, or with one that finds no keyring, the message says what else there is."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert Keyring.find() is None
    with pytest.raises(ConfigError, match=r"no keyring here.*--source file"):
        writable("keyring", {})
    with pytest.raises(ConfigError, match="allowed: file, keyring"):
        writable("argv", {})


def test_command_keeps_lists_and_never_shows(tmp_path: Path) -> None:
    """`keys add` takes a keys file from standard input, replaces only when told, and `keys list` shows fingerprints."""

    def xarb(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xarb", "keys", *words]
        given = os.environ | {"PYTHONPATH": str(ROOT)} | environment(tmp_path)
        return subprocess.run(command, cwd=tmp_path, env=given, input=text, capture_output=True, text=True, check=False, timeout=60)

    text = "".join(f'{name} = "{value}"\n' for name, value in VALUES.items())
    runs = [
        xarb("add", "main", "okx", text=text),
        xarb("add", "main", "okx", text=text),
        xarb("add", "main", "okx", "--replace", text=text),
        xarb("add", "main", "gate", text='api_key = "canary"'),
        xarb("add", "main", "gate", text='secret = "canary"'),
        xarb("add", "main", "gate", text="canary"),
        xarb("list"),
    ]
    assert [run.returncode for run in runs] == [0, 1, 0, 2, 2, 2, 0]
    assert "main\tokx\tfile" in runs[-1].stdout
    for run in runs:
        assert "canary" not in run.stdout + run.stderr
    assert vault(tmp_path).get("main@okx") == VALUES
