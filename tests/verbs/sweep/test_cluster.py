"""A sweep on a local Ray cluster of two nodes; `make cluster` installs Ray and runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trial import quiet
from tests.verbs.sweep.test_search import deadly, made, swept
from xarb.errors import ConfigError
from xarb.sql import TRIALS
from xarb.verbs.sweep import Hands, Plan, sweep

ROOT = Path(__file__).resolve().parents[3]
ray: Any = pytest.importorskip("ray", reason="Ray is not installed, and its 80 MB are not worth it here: make cluster")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with a core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 1, "object_store_memory": 100 << 20}
        made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        made.add_node(**node)
        made.wait_for_nodes(timeout=60)
        yield made.address
        ray.shutdown()
        made.shutdown()


def test_a_cluster_makes_the_same_table(cluster: str, tmp_path: Path) -> None:
    """Byte for byte that of this machine, over windows; each node has one core, so that two processes need both."""
    experiment = made(tmp_path)
    keys = {"sweep.windows": "2", "sweep.method": '"random"', "sweep.trials": "12"}
    for out, hands in (("here", Hands(1)), ("there", Hands(2, cluster))):
        sweep(Plan(experiment, keys), out=tmp_path / out, hands=hands, advance=quiet)
    assert (tmp_path / "here" / TRIALS).read_bytes() == (tmp_path / "there" / TRIALS).read_bytes()


def test_code_of_the_users_own_goes_along_and_a_process_that_dies_costs_its_trial_alone(cluster: str, tmp_path: Path) -> None:
    """The file lies on this machine alone; others' rows are as here."""
    experiment = deadly(tmp_path)
    here = swept(experiment, "here", workers=2)
    there = sweep(Plan(experiment), out=tmp_path / "there", hands=Hands(None, cluster), advance=quiet)
    assert there.rows[1].outcome.error == "its process was ended by the death of its actor, 2 times"
    assert "taker.py line" in str(there.rows[2].outcome.error)
    for number in (0, 3):
        assert there.rows[number].outcome == here.rows[number].outcome


def test_where_there_is_no_cluster_it_says_so(tmp_path: Path) -> None:
    """Wrong use, with the address."""
    with pytest.raises(ConfigError, match=r"--ray 127\.0\.0\.1:1: there is no cluster"):
        sweep(Plan(made(tmp_path)), out=tmp_path / "there", hands=Hands(None, "127.0.0.1:1"), advance=quiet)
