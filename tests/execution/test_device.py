"""Where networks compute is the environment's choice."""

import platform
import subprocess
import sys

import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.execution.device import compute_device, fits_are_stacked, jobs_at_once, start_computing


@pytest.mark.parametrize("here", [True, False])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch, here: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for unset in (None, ""):
        monkeypatch.delenv("LACUNA_DEVICE", raising=False)
        if unset is not None:
            monkeypatch.setenv("LACUNA_DEVICE", unset)
        assert compute_device() == torch.device("cuda" if here else "cpu")
    monkeypatch.setenv("LACUNA_DEVICE", "cpu")
    assert compute_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "here"),
    [("cuda", False), ("cuda:1", False), ("cuda:9", True), ("cuda:x", True), ("cudax", True), ("tpu", True)],
)
def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str, here: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LACUNA_DEVICE", wanted)
    with pytest.raises(ParamsError, match=f"LACUNA_DEVICE: '{wanted}' is not here, expected cpu or a CUDA device"):
        compute_device()


def test_a_numbered_gpu_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LACUNA_DEVICE", "cuda:1")
    assert compute_device() == torch.device("cuda:1")


def test_computing_starts_with_one_thread_deterministic_kernels_and_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_DEVICE", "cpu")
    mode = torch.get_deterministic_debug_mode()
    try:
        assert start_computing() == torch.device("cpu")
        assert torch.get_num_threads() == 1
        assert torch.get_deterministic_debug_mode() == 2
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_deterministic_debug_mode(mode)


def test_a_gpu_is_given_to_one_job_and_processors_to_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_DEVICE", "cpu")
    assert jobs_at_once() is None
    assert not fits_are_stacked()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LACUNA_DEVICE", "cuda")
    assert jobs_at_once() == 1
    assert fits_are_stacked()


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("LACUNA_DEVICE", raising=False)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("wanted", [None, "cuda"])
def test_several_gpus_are_taken_in_turn_by_the_local_workers(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None
) -> None:
    if wanted:
        monkeypatch.setenv("LACUNA_DEVICE", wanted)
    assert jobs_at_once() == 3
    assert compute_device() == torch.device("cuda")
    for worker, gpu in enumerate([0, 1, 2, 0, 1]):
        monkeypatch.setenv("LACUNA_WORKER", str(worker))
        assert compute_device() == torch.device("cuda", gpu)


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_is_named_is_the_only_one_whatever_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_DEVICE", "cuda:2")
    monkeypatch.setenv("LACUNA_WORKER", "1")
    assert jobs_at_once() == 1
    assert compute_device() == torch.device("cuda:2")


@pytest.mark.usefixtures("three_gpus")
def test_with_several_gpus_processors_can_still_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_DEVICE", "cpu")
    monkeypatch.setenv("LACUNA_WORKER", "1")
    assert jobs_at_once() is None
    assert compute_device() == torch.device("cpu")


@pytest.mark.usefixtures("three_gpus")
def test_the_device_of_a_worker_is_made_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("LACUNA_WORKER", "4")
    mode = torch.get_deterministic_debug_mode()
    try:
        assert start_computing() == torch.device("cuda:1")
    finally:
        torch.set_deterministic_debug_mode(mode)
    assert current == [torch.device("cuda:1")]


@pytest.mark.parametrize(
    ("engine", "settings", "device"),
    [
        ("slurm", {}, "cpu"),
        ("slurm", {"LACUNA_SLURM": "partition=gpu"}, "cpu"),
        ("slurm", {"LACUNA_SLURM": "gpus_per_node=0"}, "cpu"),
        ("slurm", {"LACUNA_SLURM": "partition=long,gpus_per_node=1"}, "cuda"),
        ("slurm", {"LACUNA_SLURM": "gres=gpu:a100:1"}, "cuda"),
        ("slurm", {"LACUNA_SLURM": "gpus_per_node=1", "LACUNA_DEVICE": "cpu"}, "cpu"),
        ("slurm", {"LACUNA_DEVICE": "cuda:5"}, "cuda:5"),
        ("ray", {}, "cpu"),
        ("ray", {"LACUNA_RAY_GPUS": "0.25"}, "cuda"),
        ("ray", {"LACUNA_DEVICE": "cuda"}, "cuda"),
    ],
)
def test_on_another_engine_the_device_is_that_of_its_workers(
    monkeypatch: pytest.MonkeyPatch, engine: str, settings: dict[str, str], device: str
) -> None:
    for name in ("LACUNA_DEVICE", "LACUNA_SLURM", "LACUNA_RAY_GPUS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setenv("LACUNA_ENGINE", engine)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute_device() == torch.device(device)
    assert jobs_at_once() is None
    assert not fits_are_stacked()


def test_a_device_that_is_none_is_refused_on_every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setenv("LACUNA_ENGINE", "slurm")
    monkeypatch.setenv("LACUNA_DEVICE", "tpu")
    with pytest.raises(ParamsError, match="LACUNA_DEVICE: found 'tpu', expected cpu, cuda or cuda:<number>"):
        compute_device()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_computing_frees_is_not_fetched_anew_from_the_kernel() -> None:
    code = (
        "import resource, torch\n"
        "from pipeline.execution.device import start_computing\n"
        "start_computing()\n"
        "def fill(): return [torch.ones(2**20) for _ in range(20)]\n"  # 20 x 1,024 pages
        "fill()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): fill()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 20 * 20 * 1024 / 4
