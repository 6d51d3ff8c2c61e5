"""What is Ray's own: a Ray that is started and ended here, a cluster that is only joined, shares of a GPU."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.errors import DataError, ParamsError
from pipeline.execution import on_ray
from pipeline.execution.jobs import run_jobs

pytestmark = pytest.mark.xdist_group("ray")


def gpus(_: int) -> tuple[str | None, list[str]]:
    import ray

    return os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_runtime_context().get_accelerator_ids()["GPU"]


class Stranger:
    """Can be sent, and not be understood where it arrives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("no_such_module",)


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    for name in ("DEVICE", "RAY_GPUS", "RAY_ADDRESS"):
        monkeypatch.delenv(f"LACUNA_{name}", raising=False)
    monkeypatch.setenv("LACUNA_ENGINE", "ray")
    monkeypatch.setenv("LACUNA_JOBS", "2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of one node with two processors and, as it says, one GPU."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False})
    yield made.address
    made.shutdown()


@pytest.mark.slow
def test_a_ray_that_was_started_for_the_jobs_ends_with_them() -> None:
    import ray

    assert list(run_jobs(abs, [-1, 2, -3])) == [1, 2, 3]
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_gpu_that_this_machine_has_not_is_refused_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setenv("LACUNA_RAY_GPUS", "400")
    with pytest.raises(ParamsError, match="LACUNA_RAY_GPUS: found 400 per job, but this machine has no such GPU"):
        list(run_jobs(abs, [1]))
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_cluster_is_joined_left_as_it_is_and_its_gpus_are_shared(
    monkeypatch: pytest.MonkeyPatch, cluster: str
) -> None:
    import ray

    monkeypatch.setenv("LACUNA_RAY_ADDRESS", cluster)
    for settings, seen in (
        ({"LACUNA_RAY_GPUS": "0.5"}, ("0", ["0"])),
        ({"LACUNA_RAY_GPUS": "", "LACUNA_DEVICE": "cuda"}, ("0", ["0"])),
        ({"LACUNA_RAY_GPUS": "", "LACUNA_DEVICE": "cpu"}, (None, [])),
    ):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert [(visible or None, ids) for visible, ids in run_jobs(gpus, range(3))] == [seen] * 3
        assert not ray.is_initialized()


@pytest.mark.slow
def test_a_node_that_cannot_load_the_job_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, cluster: str) -> None:
    monkeypatch.setenv("LACUNA_RAY_ADDRESS", cluster)
    with pytest.raises(DataError, match=r"Ray worker cannot run the job .*no_such_module.* on every node") as caught:
        list(run_jobs(repr, [Stranger()]))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_address_where_no_ray_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_RAY_ADDRESS", "not an address")
    with pytest.raises(ParamsError, match="LACUNA_RAY_ADDRESS: found 'not an address', but Ray cannot be reached"):
        list(run_jobs(abs, [1]))


@pytest.mark.parametrize("wanted", ["-1", "1.5", "many", "nan", "inf"])
def test_a_share_of_a_gpu_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("LACUNA_RAY_GPUS", wanted)
    with pytest.raises(ParamsError, match=f"LACUNA_RAY_GPUS: found '{wanted}', expected a share of a GPU such as 0.25"):
        on_ray.asks_for_gpus()


def test_the_share_of_a_gpu_is_a_whole_one_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_ray._gpus() == 0
    monkeypatch.setenv("LACUNA_DEVICE", "cuda")
    assert on_ray._gpus() == 1
    monkeypatch.setenv("LACUNA_RAY_GPUS", "0.25")
    assert on_ray._gpus() == 0.25
