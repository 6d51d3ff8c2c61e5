"""What is Slurm's own: job arrays by sbatch (a small stand-in for it here), what they ask for, and how they fail."""

import os
import re
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import DataError, ParamsError
from pipeline.execution import on_slurm
from pipeline.execution.jobs import run_jobs

ROOT = Path(__file__).parents[2]

STAND_IN = """#!{python}
# sbatch, srun, sacct and scancel: arrays are run on this machine, a process each, all at once.
import os, re, signal, subprocess, sys, time
from pathlib import Path
state = Path({folder!r})
name, args = Path(sys.argv[0]).name, sys.argv[1:]
if name == "sbatch":
    script = Path(args[0]).read_text()
    if "--partition=full" in script:
        sys.exit("sbatch: error: invalid partition specified: full")
    number = str(7 + len(list(state.glob("*.sh"))))
    (state / f"{{number}}.sh").write_text(script)
    last = re.search(r"--array=0-(\\d+)", script)
    for task in range(int(last[1]) + 1 if last else 1):
        own = {{"SLURM_JOB_ID": number, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
               "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}}
        if last:
            own |= {{"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(task)}}
        process = subprocess.Popen(["bash", state / f"{{number}}.sh"], env={{**os.environ, **own}},
                                   start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (state / f"{{number}}_{{task}}.pid").write_text(str(process.pid))
    print("Submitted batch job", number)
elif name == "srun":
    environment = os.environ
    key = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_TASK_ID" in environment:
        key += "_" + environment["SLURM_ARRAY_TASK_ID"]
    error = args[args.index("--error") + 1].replace("%A_%a", key).replace("%j", key).replace("%t", "0")
    os.dup2(os.open(error, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.execv(sys.executable, [sys.executable, *args[args.index("-u"):]])
elif name == "sacct":
    print("JobID|State|NodeList")
    for path in state.glob("*.pid"):
        gone = not Path(f"/proc/{{path.read_text()}}").exists()
        array, task = path.stem.split("_")
        for job in (array, path.stem):
            print(f"{{job}}|{{'OUT_OF_MEMORY' if gone else 'RUNNING'}}|here")
elif name == "scancel":
    with (state / "scancel.log").open("a") as log:
        print(*args, file=log)
    for job in args:
        for path in state.glob(f"{{job}}_*.pid"):
            try:
                os.killpg(int(path.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass
"""


def sleepy_square(number: int) -> int:
    time.sleep(0.1 if number % 2 == 0 else 0.0)
    return number * number


def complain_and_die(_: int) -> None:
    print("slurmstepd: error: Detected 1 oom_kill event", file=sys.stderr, flush=True)
    os._exit(9)


def refuse_or_sleep(seconds: float) -> None:
    if not seconds:
        raise ParamsError("x: found 0, expected another number")
    Path(f"{os.getpid()}.pid").touch()
    time.sleep(seconds)


@pytest.fixture(autouse=True)
def _slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    for name in ("SLURM", "DEVICE", "SCRATCH"):
        monkeypatch.delenv(f"LACUNA_{name}", raising=False)
    monkeypatch.setenv("LACUNA_ENGINE", "slurm")
    monkeypatch.setenv("LACUNA_JOBS", "3")


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder where the stand-in keeps the scripts that it was given."""
    core = sys.modules["submitit"].core.core
    monkeypatch.setattr(core.Job, "_results_timeout_s", 1)
    monkeypatch.setattr(sys.modules["submitit"].slurm.slurm.SlurmJob.watcher, "_delay_s", 1)
    folder, commands = tmp_path / "state", tmp_path / "bin"
    folder.mkdir()
    commands.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        (commands / name).write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


def left() -> list[str]:
    return sorted(path.name for path in Path(".scratch/slurm").iterdir())


@pytest.mark.slow
def test_jobs_go_as_arrays_that_ask_for_what_is_wanted(monkeypatch: pytest.MonkeyPatch, slurm: Path) -> None:
    monkeypatch.setattr(on_slurm, "_WAVES", 2)
    monkeypatch.setenv("LACUNA_SLURM", "partition=gpu,gres=gpu:a100:1,exclude=n1,n2,mem_gb=8,timeout_min=30")
    assert list(run_jobs(sleepy_square, range(8))) == [number * number for number in range(8)]
    scripts = [path.read_text() for path in sorted(slurm.glob("*.sh"))]
    assert [re.search(r"--array=(\S+)", script)[1] for script in scripts] == ["0-5%3", "0-1%2"]
    asked = set(re.findall(r"#SBATCH (--\S+)", scripts[0]))
    wanted = {"partition=gpu", "gres=gpu:a100:1", "exclude=n1,n2", "mem=8GB", "time=30", "job-name=lacuna"}
    assert {f"--{option}" for option in wanted} <= asked
    assert left() == []


@pytest.mark.slow
def test_a_job_that_was_killed_is_one_line_with_the_end_of_its_log(slurm: Path) -> None:
    message = r"job 7: ended without a result \(OUT_OF_MEMORY\), its log .*/7_0_log.err ends in 'slurmstepd.*oom_kill"
    with pytest.raises(DataError, match=message) as caught:
        list(run_jobs(complain_and_die, [1]))
    assert "\n" not in str(caught.value)
    assert "7_0_log.err" in left()


@pytest.mark.slow
def test_an_error_cancels_the_array_at_one_stroke_and_leaves_no_file(slurm: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="x: found 0"):
        list(run_jobs(refuse_or_sleep, [0.0, 60.0, 60.0]))
    assert (slurm / "scancel.log").read_text() == "7\n"
    assert [name for name in left() if name.endswith((".pkl", ".sh"))] == []
    deadline = time.monotonic() + 20
    while pids := [path for path in tmp_path.glob("*.pid") if Path(f"/proc/{path.stem}").exists()]:
        assert time.monotonic() < deadline, pids
        time.sleep(0.1)


def test_what_sbatch_refuses_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch, slurm: Path) -> None:
    monkeypatch.setenv("LACUNA_SLURM", "partition=full")
    with pytest.raises(ParamsError, match=r"LACUNA_SLURM: .*\(.*invalid partition specified: full.*\); correct it"):
        list(run_jobs(sleepy_square, range(3)))


def test_without_a_slurm_here_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ParamsError, match=r"there is no srun here, expected a machine of a Slurm cluster; .*=local"):
        run_jobs(sleepy_square, [1])
    assert not Path(".scratch").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("cluster=debug", "cluster=debug, expected local, or no such entry"),
        ("cluster=local,partitoin=gpu", "'partitoin' cannot be asked for, did you mean 'partition'"),
        ("cluster=local,nodes=2", "'nodes' cannot be asked for, did you mean 'nodelist'"),
        ("cluster=local,zzz=2", "'zzz' cannot be asked for, expected one of account, "),
        ("cluster=local,array_parallelism=9", "'array_parallelism' cannot be asked for"),
        ("cluster=local,setup=ls", "'setup' cannot be asked for"),
        ("cluster=local,timeout_min=long", 'Parameter "timeout_min" expected type .*long.*; correct that value'),
        ("gpu", "found 'gpu', expected name=value as in partition=gpu,timeout_min=600"),
        ("partition=", "found 'partition=', expected name=value"),
        ("=gpu", "found '=gpu', expected name=value"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch, settings: str, message: str) -> None:
    monkeypatch.setenv("LACUNA_SLURM", settings)
    with pytest.raises(ParamsError, match=f"LACUNA_SLURM: {message}") as caught:
        run_jobs(sleepy_square, [1])
    assert "\n" not in str(caught.value)


def test_values_are_numbers_and_truths_where_they_look_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_SLURM", "name=7, mem_gb=1.5,gpus_per_node=1,exclusive=true,nodelist=a,b,account=x=y,")
    assert on_slurm._settings() == {
        "name": "7", "mem_gb": 1.5, "gpus_per_node": 1, "exclusive": True, "nodelist": "a,b", "account": "x=y",
    }  # fmt: skip
