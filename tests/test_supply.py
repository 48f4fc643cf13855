"""What others write and we run: the lock names every package with digests of wheels, nothing runs at an installation, no secret lies in the tree."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from xarb.log.reader import LogReader

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "packaging" / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = [Requirement(one) for one in (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])]
ENTRY = re.compile(
    r"(?P<name>[a-z0-9.-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\]+?))?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def locked() -> dict[str, set[str]]:
    """Versions by name."""
    found: dict[str, set[str]] = {}
    for entry in ENTRY.finditer(LOCK.read_text()):
        found.setdefault(entry["name"], set()).add(entry["version"])
    return found


def test_lock_is_nothing_but_versions_with_digests() -> None:
    """No address, no option, no package without a digest."""
    text = "".join(line for line in LOCK.read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert ENTRY.sub("", text) == ""
    assert len(locked()) > len(WANTED)


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_lock_fits_what_the_project_asks_for(wanted: Requirement) -> None:
    """Each direct dependency and what builds the package, in versions that are allowed. Renew it with: python packaging/lock.py."""
    versions = locked()[canonicalize_name(wanted.name)]
    assert all(wanted.specifier.contains(version) for version in versions)


def test_lock_holds_whatever_its_packages_need() -> None:
    """Of those that are installed here, every requirement is locked too."""
    names = locked()
    for name in names:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # what only builds the package need not be installed
        if importlib.metadata.version(name) not in names[name]:
            continue  # another version may need something else
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in names, f"{name} needs {need}"


def test_installing_runs_nothing_of_ours() -> None:
    """No setup.py, no build hooks, no code that an interpreter runs by itself."""
    assert not [name for name in ("setup.py", "setup.cfg") if (ROOT / name).exists()]
    assert "hooks" not in PROJECT["tool"]["hatch"].get("build", {})
    assert PROJECT["build-system"]["build-backend"] == "hatchling.build"
    assert not [path for path in tracked() if path.suffix == ".pth" or path.name in {"sitecustomize.py", "usercustomize.py"}]


def test_exact_names_are_stated() -> None:
    """SECURITY.md names the packages that we ask for, so that a look-alike can be told."""
    text = (ROOT / "SECURITY.md").read_text()
    listed = text[text.index("Direct dependencies, by their exact names:") :].split("\n\n")[0]
    named = set(re.findall(r"`([a-z0-9-]+)`", listed))
    assert named == {one.name for one in WANTED} | {"keyring", "optuna", "ray"}


KEY = "64 hexadecimal digits"
HASHED = re.compile(
    r"""(?i)(?:sha256|digest|hash|topic|\w\([\w,()]*\)["'])[^\n]*\n?[^\n]*\Z"""
)  # what such digits are the hash of, on their line or the one before
# Shapes of secrets; each is the shape that its issuer documents.
SECRETS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    KEY: re.compile(r"(?<![0-9a-zA-Z])(?:0x)?[0-9a-fA-F]{64}(?![0-9a-zA-Z])"),
    "key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "token of GitHub": re.compile(r"\b(?:gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{60,})"),
    "token of Slack": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "token of a Telegram bot": re.compile(r"\b[0-9]{8,10}:AA[\w-]{33}\b"),
    "web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}"),
    "address with a password": re.compile(r"\b[a-z]+://[^/@\s:{}]+:[^/@\s{}]+@"),
    "long key in quotes": re.compile(
        r"(?i)(?:secret|api_?key|token|passphrase|password)\w*['\"]?\s*[:=]\s*['\"][A-Za-z0-9+/_-]{32,}={0,2}['\"]"
    ),
}
# What looks like one and is none: digests of the shipped recording and of packages, and what tests of secrets are about.
INNOCENT = {
    "packaging/requirements.lock": {KEY},
    "recordings/quickstart/manifest.jsonl": {KEY},
    "recordings/pools/manifest.jsonl": {KEY},
    "recordings/hedged/manifest.jsonl": {KEY},
    **{  # hashes of a local chain's blocks and transactions
        f"recordings/hedged/kind={kind}/date=2026-11-28/{name}.parquet": {KEY}
        for kind, name in (
            ("blocks", "00000000000000000012-00000000000000004495"),
            ("pools", "00000000000000000009-00000000000000004453"),
            ("swaps", "00000000000000000268-00000000000000004411"),
        )
    },
    **{
        f"recordings/pools/kind={kind}/date=2026-11-28/{name}.parquet": {KEY}
        for kind, name in (
            ("blocks", "00000000000000000029-00000000000000001029"),
            ("pools", "00000000000000000011-00000000000000001028"),
            ("swaps", "00000000000000000031-00000000000000001027"),
            ("loans", "00000000000000000020-00000000000000001014"),
        )
    },
    "tests/test_config.py": {"private key", "address with a password"},
    "tests/fuzz/stores.py": {"private key", "address with a password"},
    "tests/test_chain_sources.py": {"address with a password"},
    "tests/venues/test_keys.py": {"private key", "address with a password"},
}


def tracked() -> list[Path]:
    """The files of the repository; of a tree without git, all of it."""
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if done.returncode:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def secrets_in(text: str, *, is_test: bool = False) -> set[str]:
    """Which shapes stand in a text; tests of chains have hashes and known keys of nodes that nobody else runs."""
    found = {name for name, shape in SECRETS.items() if name != KEY and shape.search(text)}
    keys = () if is_test else SECRETS[KEY].finditer(text)
    return found | {KEY for match in keys if not HASHED.search(text[max(0, match.start() - 200) : match.start()])}


def test_no_secret_lies_in_the_repository() -> None:
    """Neither in code nor in documents, tests or data."""
    found = {}
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_bytes().decode("utf-8", "replace")
        seen = secrets_in(text, is_test=name.startswith("tests/")) - INNOCENT.get(name, set())
        if seen:
            found[name] = seen
    assert found == {}


def test_hash_is_no_secret() -> None:
    """By what stands on its line, or on the one before."""
    digits = "c0ffee" * 10 + "cafe"
    assert secrets_in(f'CODE_SHA256 = "{digits}"') == set()
    assert secrets_in(f'"Swap(address,uint256)":\n    "0x{digits}"') == set()
    assert secrets_in(f'"Swap(address,uint256)"\n\n    "0x{digits}"') == {KEY}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("private key", "-----BEGIN " + "EC PRIVATE KEY-----"),
        (KEY, "key = 0x" + "c0ffee" * 10 + "cafe"),
        ("key of AWS", "AKIA" + "ABCDEFGHIJ234567"),
        ("token of GitHub", "ghp_" + "a1B2" * 9),
        ("token of Slack", "xoxb-" + "123456789012"),
        ("token of a Telegram bot", "123456789:" + "AA" + "b" * 33),
        ("web token", "eyJhbGciOiJIUzI1." + "eyJzdWIiOiIxMjM0"),
        ("address with a password", "https://me:" + "word@host"),
        ("long key in quotes", 'api_secret = "' + "Ab1" * 12 + '"'),
    ],
)
def test_secret_is_seen(name: str, text: str) -> None:
    """The scan knows each shape."""
    assert name in secrets_in(text)


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in (ROOT / "recordings").glob("*/manifest.jsonl")), ids=lambda path: path.name
)
def test_shipped_recordings_name_no_path_of_a_machine(folder: Path) -> None:
    """Sources are addresses or files as they were named, and no text of theirs is a path from the root."""
    with LogReader(folder) as reader:
        kinds = [kind for kind in ("connections", "health", "rejects", "instruments") if reader.entries(kind)]
        texts = {value for kind in kinds for row in reader.rows(kind) for value in row.values() if isinstance(value, str)}
        texts.add(reader.header.origin)
    assert "connections" in kinds
    assert not {text for text in texts if re.search(r"(^|[\s=\"'(])/[a-z]", text)}
