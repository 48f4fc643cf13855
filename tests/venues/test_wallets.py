"""Wallets: keystores that others can read and we can, whom they refuse, what they sign, and that nothing shows a key."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.imports.conftest import ROOT
from tests.venues.test_vault import _Backend
from xarb.errors import ConfigError, InvariantBroken, Refused
from xarb.venues.vault import Keyring
from xarb.venues.wallets import (
    Signer,
    Wallet,
    account_of,
    add_wallet,
    check_keystore,
    entries,
    eth_accounts,
    new_account,
    open_wallet,
    unlock,
    wallet_passphrase,
)

# The test vector of the keystore format (Ethereum Wiki, Web3 Secret Storage Definition): key, passphrase, and both derivations.
Account = eth_accounts()
KEY = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
ADDRESS = "0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b"
VECTORS: dict[str, Any] = {
    "pbkdf2": {
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
            "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
            "kdf": "pbkdf2",
            "kdfparams": {
                "c": 262144,
                "dklen": 32,
                "prf": "hmac-sha256",
                "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
            },
            "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3,
    },
    "scrypt": {
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
            "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32,
                "n": 262144,
                "r": 1,
                "p": 8,
                "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
            },
            "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3,
    },
}
WORDS = "correct horse battery"
TRANSACTION = {
    "to": "0x000000000000000000000000000000000000dEaD",
    "value": 10**18,
    "gas": 21_000,
    "maxFeePerGas": 10**9,
    "maxPriorityFeePerGas": 10**8,
    "nonce": 7,
    "chainId": 1,
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Where wallets are, and the passphrase of `hot`."""
    return {"XARB_WALLETS": str(folder / "settings" / "wallets"), "XARB_WALLET_HOT_PASSPHRASE": WORDS} | more


def light(**changes: Any) -> str:
    """A keystore that opens at once, with fields of `crypto` or of the whole changed."""
    made: dict[str, Any] = Account.from_key(KEY).encrypt(WORDS, kdf="scrypt", iterations=2)
    for name, value in changes.items():
        place = made["crypto"] if name in made["crypto"] else made["crypto"]["kdfparams"] if name in "n r p dklen salt" else made
        place[name] = value
    return json.dumps(made)


@pytest.mark.parametrize("kind", VECTORS)
def test_the_formats_own_vectors_open(kind: str) -> None:
    """Key and address of the published keystores, in old tools' upper case too."""
    assert unlock(json.dumps(VECTORS[kind]), "testpassword", "x").address == ADDRESS
    loud = json.dumps(VECTORS[kind]).replace('"crypto"', '"Crypto"').replace('"kdfparams"', '"KdfParams"')
    check_keystore(loud, "x")


def test_wallet_comes_back_as_it_was_put(tmp_path: Path) -> None:
    """File and folders are ours alone, hold no key in the clear, and nothing lies beside; another tool opens it."""
    place = environment(tmp_path)
    made, path = add_wallet("hot", account_of(KEY, "x"), WORDS, place, scrypt_n=2)
    assert path == tmp_path / "settings" / "wallets" / "hot.json"
    assert [path.stat().st_mode & 0o777, *(one.stat().st_mode & 0o777 for one in (path.parent, path.parent.parent))] == [
        0o600,
        0o700,
        0o700,
    ]
    assert [one.name for one in path.parent.iterdir()] == ["hot.json"]
    assert KEY[:16] not in path.read_text()
    assert Account.decrypt(path.read_text(), WORDS).hex() == KEY
    again = open_wallet("hot", place)
    assert (again.address, made.address) == (ADDRESS, ADDRESS)
    with pytest.raises(ConfigError, match="wrong passphrase, or the file is damaged"):
        open_wallet("hot", place | {"XARB_WALLET_HOT_PASSPHRASE": "another one"})


def test_wallet_is_never_replaced(tmp_path: Path) -> None:
    """Its key may exist nowhere else; the file stays as it was."""
    place = environment(tmp_path)
    _, path = add_wallet("hot", account_of(KEY, "x"), WORDS, place, scrypt_n=2)
    before = path.read_bytes()
    with pytest.raises(Refused, match="may exist nowhere else"):
        add_wallet("hot", new_account(), WORDS, place, scrypt_n=2)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../hot", "Hot", "", "a/b", "hot.json", "a" * 33, "ä", "-x"])
def test_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is read or written."""
    for act in (
        lambda: open_wallet(name, environment(tmp_path)),
        lambda: add_wallet(name, new_account(), WORDS, environment(tmp_path)),
    ):
        with pytest.raises(ConfigError, match="a name has"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_every_changed_byte_is_refused_or_changes_nothing() -> None:
    """Also of the address and the nonce, which the format's checksum does not cover: no other key ever comes out."""
    text = light()
    refused = 0
    for place in range(len(text)):
        for other in ("0", '"', chr(ord(text[place]) ^ 1)):
            changed = text[:place] + other + text[place + 1 :]
            with contextlib.suppress(ConfigError):  # the other way in which nothing is lost
                assert unlock(changed, WORDS, "x").address == ADDRESS
                continue
            refused += 1
    assert refused > len(text)
    iv = "00" * 16
    with pytest.raises(ConfigError, match="not that of the address"):
        unlock(light(cipherparams={"iv": iv}), WORDS, "x")
    with pytest.raises(ConfigError, match="not that of the address"):
        unlock(light(address="00" * 20), WORDS, "x")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": 1 << 30}, "more work"),
        ({"n": 1 << 20, "r": 64}, "more work"),
        ({"p": 1 << 30}, "more work"),
        ({"n": 3}, "more work"),
        ({"n": 0}, "no keystore"),
        ({"n": "2"}, "no keystore"),
        ({"dklen": 16}, "no keystore"),  # leaves nothing of the derived key in the checksum
        ({"version": 4}, "no keystore"),
        ({"kdf": "argon2"}, "no keystore"),
        ({"kdf": "pbkdf2"}, "no keystore"),
        ({"kdf": "pbkdf2", "kdfparams": {"c": 1 << 30, "prf": "hmac-sha256", "dklen": 32, "salt": "00"}}, "more work"),
        ({"cipher": "aes-128-cbc"}, "no keystore"),
        ({"mac": "00"}, "no keystore"),
        ({"mac": "00" * 32}, "wrong passphrase"),
        ({"salt": "00" * 65}, "no keystore"),
    ],
)
def test_keystore_that_is_none_or_asks_too_much_is_refused(changes: dict[str, Any], words: str) -> None:
    """Before any of its work is done."""
    with pytest.raises(ConfigError, match=words):
        unlock(light(**changes), WORDS, "x")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"a":' * 10_000, '{"version":3}', "null", '{"crypto":{},"version":3}']
)
def test_what_is_no_keystore_is_refused(text: str) -> None:
    """However it is nested."""
    with pytest.raises(ConfigError, match="no keystore"):
        check_keystore(text, "x")


def test_modes_are_checked_and_shown(tmp_path: Path) -> None:
    """A file or folder that others may read gives no key; the list says which modes they are."""
    place = environment(tmp_path)
    _, path = add_wallet("hot", account_of(KEY, "x"), WORDS, place, scrypt_n=2)
    assert entries(place) == [("hot", ADDRESS, str(path), "0600 in 0700", "")]
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 0640.*chmod 600"):
        open_wallet("hot", place)
    assert [(one.modes, one.address) for one in entries(place)] == [("0640 in 0700", "-")]
    assert "chmod 600" in entries(place)[0].trouble
    path.chmod(0o600)
    path.parent.chmod(0o711)
    with pytest.raises(ConfigError, match=r"mode 0711.*chmod 700"):
        open_wallet("hot", place)
    assert "chmod 700" in entries(place)[0].trouble
    with pytest.raises(ConfigError, match="mode 0711"):
        add_wallet("other", new_account(), WORDS, place, scrypt_n=2)
    path.parent.chmod(0o700)
    path.write_text("{}")
    assert "no keystore" in entries(place)[0].trouble
    unnamed = json.loads(light())
    del unnamed["address"]
    path.write_text(json.dumps(unnamed))
    with pytest.raises(ConfigError, match="names no address"):
        open_wallet("hot", place)
    with pytest.raises(ConfigError, match=r"no such wallet.*keys add --wallet cold"):
        open_wallet("cold", place)


@pytest.mark.parametrize("text", ["", KEY[:-1], f"{KEY}0", "0" * 64, "f" * 64, f"0x0x{KEY}", f"{KEY[:-1]}g"])
def test_what_is_no_private_key_is_refused_without_showing_it(text: str) -> None:
    """Wrong lengths, digits, and numbers that are no key of the curve."""
    with pytest.raises(ConfigError, match=r"no private key|no key of the curve") as error:
        account_of(text, "x")
    assert not text or text not in "".join(traceback.format_exception(error.value))


def test_a_wallet_leaves_the_interpreters_limit_as_it_was() -> None:
    """What is imported for it raises the limit of recursion a hundredfold: a frame that is nested deeper would end the process."""
    script = (
        "import sys, msgspec; before = sys.getrecursionlimit()\n"
        f"from xarb.venues.wallets import account_of; account_of('{KEY}', 'x')\n"
        "try: msgspec.json.decode(b'[' * 99_000)\n"
        "except RecursionError: print(sys.getrecursionlimit() == before, 'py_ecc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"])


def test_wallet_shows_and_copies_no_key() -> None:
    """Neither repr, str, pickle nor deepcopy."""
    wallet = Wallet("hot", account_of(KEY, "x"))
    assert f"{wallet} {wallet!r}" == f"wallet hot ({ADDRESS}) wallet hot ({ADDRESS})"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(wallet)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(wallet)
    assert not hasattr(wallet, "__dict__")


def test_wallet_signs_for_one_chain_and_its_own_address() -> None:
    """What it signs recovers to its address; without a chain, from another address, or as nonsense it signs nothing and shows no key."""
    signer: Signer = Wallet("hot", account_of(KEY, "x"))
    signed = asyncio.run(signer.sign_transaction(TRANSACTION))
    assert Account.recover_transaction(signed) == ADDRESS
    assert asyncio.run(signer.sign_transaction(TRANSACTION | {"from": ADDRESS})) == signed
    for change, words in (
        ({"chainId": None}, "any chain"),
        ({"chainId": 0}, "any chain"),
        ({"chainId": "0x0"}, "any chain"),
        ({"chainId": True}, "any chain"),
        ({"from": "0x000000000000000000000000000000000000dEaD"}, "another address"),
        ({"value": "x"}, "no transaction"),
        ({"to": KEY}, "no transaction"),
    ):
        with pytest.raises(InvariantBroken, match=words) as error:
            asyncio.run(signer.sign_transaction(TRANSACTION | change))
        assert KEY not in "".join(traceback.format_exception(error.value))


def test_passphrase_comes_from_variable_file_or_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In that order; a new one is not taken from the keyring."""
    ring = Keyring(_Backend())
    monkeypatch.setattr(Keyring, "find", lambda: ring)
    ring.keep_passphrase("hot", "of the ring")
    file = tmp_path / "words"
    file.write_text("of the file\n")
    file.chmod(0o600)
    named = {"XARB_WALLET_HOT_PASSPHRASE_FILE": str(file)}
    assert wallet_passphrase("hot", environment(tmp_path) | named) == WORDS
    assert wallet_passphrase("hot", named) == "of the file"
    assert wallet_passphrase("hot", {}) == "of the ring"
    assert ring.names() == []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(ConfigError, match="set XARB_WALLET_HOT_PASSPHRASE"):
        wallet_passphrase("hot", {}, is_new=True)
    with pytest.raises(ConfigError, match="set XARB_WALLET_COLD_PASSPHRASE"):
        wallet_passphrase("cold", {})


def test_a_wallet_that_is_not_there_keeps_no_other_from_the_list(tmp_path: Path) -> None:
    """A link to nothing, or in a circle, is listed with what is wrong."""
    folder = tmp_path / "wallets"
    folder.mkdir(mode=0o700)
    (folder / "away.json").symlink_to(tmp_path / "nowhere")
    (folder / "round.json").symlink_to(folder / "round.json")
    (folder / "sound.json").touch(mode=0o600)
    (folder / "sound.json").write_text(light())
    found = {one.name: one for one in entries({"XARB_WALLETS": str(folder)})}
    assert found["away"].trouble == "cannot be read: No such file or directory"
    assert "cannot be read" in found["round"].trouble
    assert (found["sound"].address.lower(), found["sound"].trouble) == (ADDRESS.lower(), "")


def test_commands_make_import_list_and_prove_wallets(tmp_path: Path) -> None:
    """A key from standard input, a new one, an imported keystore; neither key nor passphrase is printed, and nothing is replaced."""

    def xarb(*words: str, text: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xarb", "keys", *words]
        given = os.environ | {"PYTHONPATH": str(ROOT)} | environment(tmp_path) | more
        return subprocess.run(command, cwd=tmp_path, env=given, input=text, capture_output=True, text=True, check=False, timeout=60)

    def wrong(name: str, words: str = "wrong wrong") -> dict[str, str]:
        return {f"XARB_WALLET_{name.upper()}_PASSPHRASE": words}

    given = tmp_path / "given"
    given.write_text(light())
    given.chmod(0o600)
    other = {"XARB_WALLET_B_PASSPHRASE": WORDS}
    runs = [
        xarb("add", "--wallet", "hot", text=f"0x{KEY}\n"),
        xarb("add", "--wallet", "hot", "--new"),
        xarb("add", "--wallet", "b", "--keystore", str(given), **wrong("b")),
        xarb("add", "--wallet", "b", "--keystore", str(given), **other),
        xarb("add", "--wallet", "c", "--new"),
        xarb("add", "--wallet", "c", "--new", **wrong("c", "1234567")),
        xarb("add", "--wallet", "c", text=KEY[1:], **wrong("c", WORDS)),
        xarb("add", "--wallet", "c", "main", "okx"),
        xarb("add", "main"),
        xarb("list"),
        xarb("check", "--wallet", "hot", "--wallet", "b", **other),
        xarb("check", "--wallet", "hot", **wrong("hot")),
        xarb("check"),
    ]
    assert [run.returncode for run in runs] == [0, 1, 2, 0, 2, 2, 2, 2, 2, 0, 0, 2, 2]
    assert f"hot\t{ADDRESS}\t{tmp_path}/settings/wallets/hot.json\t0600 in 0700\tnot opened" in runs[9].stdout
    assert runs[10].stdout.count(f"{ADDRESS}\t") == 2
    assert "wrong passphrase, or the file is damaged" in runs[2].stderr + runs[11].stderr
    for run in runs:
        assert "Traceback" not in run.stderr
        for secret in (KEY, KEY[1:], WORDS, "wrong wrong"):
            assert secret not in run.stdout + run.stderr
    kept = json.loads((tmp_path / "settings" / "wallets" / "b.json").read_text())
    assert kept["crypto"]["kdfparams"]["n"] == 1 << 18, "a weakly sealed keystore is sealed anew"
