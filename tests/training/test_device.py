"""Where networks compute is the environment's choice."""

import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.training.device import compute_device, jobs_at_once, start_computing


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
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LACUNA_DEVICE", "cuda")
    assert jobs_at_once() == 1
