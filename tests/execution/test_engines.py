"""One contract for whatever runs the jobs: processes of this machine, Slurm (submitit's local stand-in) or Ray."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import paths
from pipeline.errors import ContractError, DataError, LacunaError, ParamsError
from pipeline.execution.jobs import engine, run_jobs, workers

ROOT = Path(__file__).parents[2]
OURS = {"data": DataError, "params": ParamsError, "contract": ContractError}
ELSEWHERE = [pytest.param("slurm", marks=pytest.mark.slow), pytest.param("ray", marks=pytest.mark.slow)]
pytestmark = pytest.mark.xdist_group("ray")


def sleepy_square(number: int) -> int:
    time.sleep(0.1 if number % 2 == 0 else 0.0)
    return number * number


def refuse(name: str) -> str:
    if name in OURS:
        raise OURS[name](f"x: found {name}, expected another")
    if name == "bug":
        raise KeyError("of another kind")
    return name


def surroundings(_: int) -> tuple[dict[str, str], Path]:
    return dict(os.environ), Path.cwd()


def die(caller: int) -> None:
    assert os.getpid() != caller
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_and_tell(seconds: float) -> None:
    Path(f"{seconds:g}s-{os.getpid()}").touch()
    time.sleep(seconds)


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def sleepers(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in folder.glob("60s-*")]


def wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


@pytest.fixture(params=["local", *ELSEWHERE])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Choose an engine; two jobs at once, in a folder of its own."""
    if request.param == "slurm":
        core = pytest.importorskip("submitit").core.core
        monkeypatch.setattr(core.Job, "_results_timeout_s", 1)  # how long a file system may hide the result
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LACUNA_SCRATCH", raising=False)
    for name, value in {"ENGINE": request.param, "JOBS": "2", "SLURM": "cluster=local", "DEVICE": "cpu"}.items():
        monkeypatch.setenv(f"LACUNA_{name}", value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return str(request.param)


def test_results_come_in_the_order_of_the_jobs(chosen: str) -> None:
    assert list(run_jobs(sleepy_square, range(5))) == [0, 1, 4, 9, 16]


def test_without_jobs_nothing_is_run(chosen: str) -> None:
    assert list(run_jobs(sleepy_square, [])) == []


@pytest.mark.parametrize("name", OURS)
def test_our_errors_arrive_as_they_are_after_the_results_before_them(chosen: str, name: str) -> None:
    results = run_jobs(refuse, ["a", name, "b"])
    assert next(results) == "a"
    with pytest.raises(LacunaError) as caught:
        next(results)
    assert type(caught.value) is OURS[name]
    assert str(caught.value) == f"x: found {name}, expected another"
    assert [path for path in Path(".scratch").rglob("*") if path.is_file()] == []


def test_other_errors_keep_their_type_and_say_where_they_were_raised(chosen: str) -> None:
    with pytest.raises(KeyError, match="of another kind") as caught:
        list(run_jobs(refuse, ["a", "bug"]))
    told = "".join([*getattr(caught.value, "__notes__", []), str(caught.value.__cause__)])
    assert "in refuse" in told


def test_the_settings_and_the_folder_of_the_caller_reach_the_jobs(
    chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LACUNA_SOMETHING", "1=2")
    monkeypatch.setenv("LACUNA_SCRATCH", "elsewhere")
    for environment, folder in run_jobs(surroundings, range(2)):
        assert folder == tmp_path
        assert environment["LACUNA_SOMETHING"] == "1=2"
        assert environment["LACUNA_SCRATCH"] == "elsewhere"
        assert environment["LACUNA_DEVICE"] == "cpu"
        assert environment["LACUNA_ENGINE"] == "local"
        assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "1"
    monkeypatch.delenv("LACUNA_SOMETHING")
    assert ["LACUNA_SOMETHING" in environment for environment, _ in run_jobs(surroundings, range(2))] == [False] * 2


def test_jobs_are_taken_only_a_little_ahead_of_their_results(chosen: str) -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(7 if chosen == "slurm" else 40):
            taken += 1
            yield number

    for done, _ in enumerate(run_jobs(sleepy_square, jobs()), start=1):
        assert taken <= done + (1 if chosen == "slurm" else 7)
    assert done == taken


def test_a_killed_worker_is_one_line_that_says_what_to_do(chosen: str) -> None:
    with pytest.raises(DataError, match=r"killed.*run again to go on") as caught:
        list(run_jobs(die, [os.getpid()] * 2))
    assert "\n" not in str(caught.value)


def test_a_caller_that_stops_early_leaves_no_job_behind(chosen: str, tmp_path: Path) -> None:
    results = run_jobs(sleep_and_tell, [0.0, 60.0, 60.0, 60.0])
    next(results)
    assert wait(lambda: bool(sleepers(tmp_path)))
    results.close()
    assert wait(lambda: not any(map(running, sleepers(tmp_path))))


@pytest.fixture
def study(study: dict[str, Any]) -> dict[str, Any]:
    """The tiny study with four trainings only."""
    study["benchmarks"]["tiny"]["seeds"] = [1]
    return study


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_stage_ends_in_the_same_bytes_on_every_engine(
    name: str, workplace: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.mask import mask  # here, or every worker of these tests would import torch
    from stages.split import split
    from stages.train import train

    if name == "ray":
        request.getfixturevalue("ray_here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LACUNA_SLURM", "cluster=local")
    monkeypatch.setenv("LACUNA_JOBS", "2")
    split("tiny")
    mask("tiny")
    found = []
    for engine_name in ("local", name):
        monkeypatch.setenv("LACUNA_ENGINE", engine_name)
        monkeypatch.setenv("LACUNA_SCRATCH", f"scratch_{engine_name}")
        train("tiny", "mlp")
        folder = paths.models("tiny", "mlp")
        found.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")})
    assert len(found[0]) > 8
    assert found[0] == found[1]


SCRIPT = """
import signal
from pathlib import Path
from tests.execution.test_engines import run_jobs, sleep_and_tell

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    list(run_jobs(sleep_and_tell, [60.0, 60.0]))
"""


def test_ctrl_c_ends_the_jobs_that_run(chosen: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, "script.py"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as caller:
        assert wait(lambda: len(sleepers(tmp_path)) == 2)
        assert all(map(running, sleepers(tmp_path)))
        caller.send_signal(signal.SIGINT)
        assert caller.wait(30) != 0
    assert wait(lambda: not any(map(running, sleepers(tmp_path))))


def test_an_engine_that_nobody_knows_is_refused_with_the_ones_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_ENGINE", "dask")
    with pytest.raises(ParamsError) as caught:
        run_jobs(sleepy_square, [1])
    assert str(caught.value) == ("LACUNA_ENGINE: found 'dask', expected local, slurm or ray")


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setenv("LACUNA_ENGINE", name)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    message = f"LACUNA_ENGINE: '{name}' needs {package}, which is not installed; pip install {package}"
    with pytest.raises(ParamsError, match=message):
        run_jobs(sleepy_square, [1])


def test_the_local_engine_loads_no_other() -> None:
    code = "import sys, pipeline.execution.jobs as jobs; list(jobs.run_jobs(abs, [1])); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"ray", "submitit", "torch", "pipeline.execution.elsewhere"} & set(loaded.split())


def test_elsewhere_64_jobs_run_at_once_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LACUNA_JOBS", raising=False)
    monkeypatch.setenv("LACUNA_ENGINE", "slurm")
    assert engine() == "slurm"
    assert [workers(), workers(8)] == [64, 8]
    monkeypatch.setenv("LACUNA_JOBS", "200")
    assert workers() == 200
