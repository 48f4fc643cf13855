"""The units, the container's entry point and the compose file, against the exit codes, options and times of the code."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xarb.cli import app
from xarb.config import LiveConfig
from xarb.errors import ConfigError
from xarb.live.verb import KILLED
from xarb.log.manifest import Manifest

PACKAGING = Path(__file__).resolve().parents[1] / "packaging"
UNITS = sorted((PACKAGING / "systemd").glob("*.service"))
ENTRYPOINT = PACKAGING / "docker" / "entrypoint.sh"
FAREWELL_S = 30  # for the last seal and the exchanges' last answers


def unit(name: str) -> configparser.SectionProxy:
    """The [Service] section of a unit."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys as they are written
    parser.read(PACKAGING / "systemd" / f"xarb-{name}.service")
    return parser["Service"]


def commands() -> list[list[str]]:
    """What units and compose file run, without the program."""
    found = [shlex.split(unit(path.stem.removeprefix("xarb-"))["ExecStart"])[1:] for path in UNITS]
    text = (PACKAGING / "docker" / "compose.yaml").read_text()
    return found + [re.split(r",\s*", one) for one in re.findall(r"command: \[(.*)\]", text)]


def test_a_stop_a_wrong_config_and_a_kill_are_not_restarted() -> None:
    """The exit codes of the code stand in the unit; a failure (1) is restarted."""
    service = unit("live")
    assert service["Restart"] == "on-failure"
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == {0, ConfigError.exit_code, KILLED}
    assert 1 not in {0, ConfigError.exit_code, KILLED}


def test_a_stop_has_the_time_that_the_code_takes() -> None:
    """`live.stop_ms` for open bundles, as long again for cancels, and the last seal; in the compose file too."""
    least = 2 * float(LiveConfig().stop_ms) / 1000 + FAREWELL_S
    assert float(unit("live")["TimeoutStopSec"]) >= least
    text = (PACKAGING / "docker" / "compose.yaml").read_text()
    live = text[text.index("  live:") : text.index("  watch:")]
    assert float(re.findall(r"stop_grace_period: (\d+)s", live)[0]) >= least


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_are_watched(path: Path) -> None:
    """Each is ready when it says so, and has a watchdog that several of its words, one a second, may miss."""
    service = unit(path.stem.removeprefix("xarb-"))
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert float(service["WatchdogSec"]) >= 10


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_what_is_run_is_a_command_with_such_options(words: list[str]) -> None:
    """The verb exists and its help names each option that is used."""
    done = CliRunner().invoke(app, [words[0], "--help"])
    assert done.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_nothing_wrong(path: Path, tmp_path: Path) -> None:
    """systemd's own check of the unit, with a program that is there; it names every key that it does not know."""
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/xarb/bin/xarb", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if path.name in line]) == (0, [])


def ended(tmp_path: Path, program: str, *, interrupt: bool = False) -> int:
    """Exit code of the entry point when `xarb` is this script."""
    fake = tmp_path / "xarb"
    fake.write_text(f"#!/bin/sh\n{program}\n")
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    with subprocess.Popen([ENTRYPOINT, "live"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if interrupt:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(signal.SIGTERM)
        return process.wait(30)


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (1, 1), (2, 0), (3, 0), (130, 130)])
def test_the_container_ends_with_0_where_it_must_not_be_restarted(tmp_path: Path, code: int, seen: int) -> None:
    """Docker restarts on any other code: 2 and 3 become 0, the others stay."""
    assert ended(tmp_path, f"exit {code}") == seen


def test_the_container_hands_a_stop_on_and_waits_for_the_end(tmp_path: Path) -> None:
    """SIGTERM reaches the process, and the container lasts until that has ended, however long it takes."""
    program = f"trap 'sleep 0.2; touch {tmp_path}/sealed; exit 0' TERM\necho begun\nwhile :; do sleep 0.05; done"
    for _ in range(5):
        assert ended(tmp_path, program, interrupt=True) == 0
        (tmp_path / "sealed").unlink()


def test_the_wheel_has_all_that_a_demo_needs(tmp_path: Path) -> None:
    """Built from the tree and unpacked elsewhere, it runs on what is in it; machine code is that of the checkout, being of the same sources."""
    root, site, away = PACKAGING.parent, tmp_path / "site", tmp_path / "away"
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(root),
    ]
    subprocess.run([*words, "--disable-pip-version-check"], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("xarb-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    away.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(root / "xarb" / "__pycache__")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "xarb", "demo"],
        cwd=away,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (away / "runs").iterdir()
    proof = subprocess.run(
        [sys.executable, "-P", "-m", "xarb", "verify", str(run)],
        cwd=away,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert str(site / "xarb" / "_shipped") in str(Path(run, Manifest(run).header.origin).resolve())


def test_a_shell_completes_verbs() -> None:
    """What `xarb --install-completion` puts into a shell's settings asks like this."""
    environment = os.environ | {"_XARB_COMPLETE": "complete_bash", "COMP_WORDS": "xarb ba", "COMP_CWORD": "1"}
    script = "import sys; sys.argv = ['xarb']; from xarb.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["backtest"]
