"""Jobs in worker processes: in order, none lost, nothing left running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import DataError, ParamsError
from pipeline.execution import on_local
from pipeline.execution.jobs import run_jobs, workers
from pipeline.execution.threads import one_thread

ROOT = Path(__file__).parents[2]


def sleepy_square(number: int) -> int:
    time.sleep(0.05 if number % 2 == 0 else 0.0)
    return number * number


def refuse_two(number: int) -> int:
    if number == 2:
        raise ParamsError("x: found 2, expected another number")
    return number


def die(parent: int) -> None:
    assert os.getpid() != parent
    os.kill(os.getpid(), signal.SIGKILL)


def number_and_process(_: int) -> tuple[str | None, int]:
    time.sleep(0.1)
    return os.environ.get("LACUNA_WORKER"), os.getpid()


def first_waits_for_the_others(job: tuple[Path, int]) -> int:
    folder, number = job
    if number:
        (folder / str(number)).touch()
    deadline = time.monotonic() + 30
    while number == 0 and len(list(folder.iterdir())) < 40:
        assert time.monotonic() < deadline, "the others were not begun"
        time.sleep(0.01)
    return number


def process_and_threads(_: int) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_results_come_in_the_order_of_the_jobs(monkeypatch: pytest.MonkeyPatch, jobs: str, count: int) -> None:
    monkeypatch.setenv("LACUNA_JOBS", jobs)
    assert list(run_jobs(sleepy_square, range(count))) == [number * number for number in range(count)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_a_job_raises_reaches_the_caller_after_the_results_before_it(
    monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    monkeypatch.setenv("LACUNA_JOBS", jobs)
    results = run_jobs(refuse_two, range(6))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ParamsError, match="x: found 2"):
        next(results)
    assert multiprocessing.active_children() == []


def test_a_long_job_holds_up_no_other_within_what_is_taken_ahead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    jobs = [(tmp_path, number) for number in range(41)]
    assert list(run_jobs(first_waits_for_the_others, jobs, ahead=30)) == list(range(41))


def test_one_worker_or_one_job_needs_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "1")
    assert {pid for pid, _ in run_jobs(process_and_threads, range(3))} == {os.getpid()}
    monkeypatch.setenv("LACUNA_JOBS", "2")
    assert {pid for pid, _ in run_jobs(process_and_threads, range(1))} == {os.getpid()}


def test_workers_are_as_many_as_asked_for_and_have_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = list(run_jobs(process_and_threads, range(40)))
    assert os.getpid() not in {pid for pid, _ in found}
    assert 1 <= len({pid for pid, _ in found}) <= 2
    assert {threads for _, threads in found} == {"1"}


def test_workers_are_numbered_from_zero_and_keep_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "3")
    found = set(run_jobs(number_and_process, range(9)))
    numbers, processes = zip(*found, strict=True)
    assert set(numbers) <= {"0", "1", "2"}
    assert len(found) == len(set(numbers)) == len(set(processes)) > 1


def test_workers_that_are_started_afresh_are_numbered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    monkeypatch.setattr(on_local, "_context", lambda: multiprocessing.get_context("spawn"))
    assert "0" in set(run_jobs(os.getenv, ["LACUNA_WORKER"] * 20)) <= {"0", "1"}


def test_this_process_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "1")
    assert list(run_jobs(number_and_process, range(2))) == [(None, os.getpid())] * 2


def test_an_error_ends_the_jobs_that_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    started = time.monotonic()
    with pytest.raises(TypeError):
        list(run_jobs(time.sleep, ["no number", 30.0, 30.0]))
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 10


def test_jobs_are_taken_only_a_little_ahead_of_their_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(60):
            taken += 1
            yield number

    for done, _ in enumerate(run_jobs(sleepy_square, jobs()), start=1):
        assert taken <= done + 7
    assert taken == 60


def test_a_killed_worker_is_a_data_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    with pytest.raises(DataError, match=r"killed from outside .*LACUNA_JOBS=1"):
        list(run_jobs(die, [os.getpid()] * 4))
    assert multiprocessing.active_children() == []


def test_a_caller_that_stops_early_leaves_no_worker_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "2")
    started = time.monotonic()
    results = run_jobs(time.sleep, [0.0, 0.0, *[30.0] * 10])
    next(results)
    results.close()
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5", "", "²"])
def test_a_number_of_workers_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("LACUNA_JOBS", wanted)
    with pytest.raises(ParamsError, match=f"LACUNA_JOBS: found '{wanted}', expected a positive whole number"):
        workers()


def test_by_default_there_is_one_worker_per_processor_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LACUNA_JOBS", raising=False)
    assert workers() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("LACUNA_JOBS", "3")
    assert workers() == 3


def test_one_thread_pins_torch_and_what_is_loaded_later(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    one_thread()
    assert torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from pipeline.execution.jobs import run_jobs

def sleep(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    list(run_jobs(sleep, [sys.argv[1]] * 6))
"""


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    pids = tmp_path / "pids"
    pids.mkdir()
    environment = {**os.environ, "LACUNA_JOBS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "script.py"), str(pids)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as parent:
        assert _wait(lambda: len(list(pids.iterdir())) == 2)
        children = [int(path.name) for path in pids.iterdir()]
        assert all(map(_runs, children))
        parent.send_signal(end)
        assert parent.wait(15) != 0
    assert _wait(lambda: not any(map(_runs, children)))
