"""How stages end: one line on stderr and an exit code, never a traceback for what a user can mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

STAGE = """
import errno
from pipeline import cli
from pipeline.errors import DataError

def stage({arguments}) -> None:
    \"\"\"Say who.

    Nobody reads this line.
    \"\"\"
    {body}

cli.run(stage, {names})
"""


def run(body: str, *given: str, arguments: str = "who: str", names: str = "'who'") -> subprocess.CompletedProcess[str]:
    source = STAGE.format(arguments=arguments, body=body, names=names)
    return subprocess.run([sys.executable, "-c", source, *given], cwd=ROOT, capture_output=True, text=True, check=False)


def test_arguments_reach_the_stage_by_name() -> None:
    done = run("print(repr(who))", "--who", "7")
    assert (done.returncode, done.stdout, done.stderr) == (0, "'7'\n", "")


def test_a_positional_argument_needs_no_dash() -> None:
    done = run("print(who)", "me", names="positional='who'")
    assert (done.returncode, done.stdout) == (0, "me\n")


def test_a_missing_argument_is_refused() -> None:
    done = run("pass")
    assert done.returncode == 2
    assert "--who" in done.stderr


def test_help_is_the_first_line_of_the_docstring() -> None:
    done = run("pass", "--help")
    assert done.returncode == 0
    assert "Say who." in done.stdout
    assert "Nobody" not in done.stdout


def test_what_a_user_can_mend_is_one_line_without_a_traceback() -> None:
    done = run("raise DataError('x.csv: found 1, expected 2; mend it')", "--who", "me")
    assert (done.returncode, done.stderr) == (1, "error: x.csv: found 1, expected 2; mend it\n")


def test_an_interrupt_exits_with_130_and_one_line() -> None:
    done = run("raise KeyboardInterrupt", "--who", "me")
    assert done.returncode == 130
    assert done.stderr.startswith("interrupted: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_is_one_line_that_names_the_file(code: str) -> None:
    done = run(f"raise OSError(errno.{code}, 'full', 'out.h5')", "--who", "me")
    assert (done.returncode, done.stderr) == (
        1,
        "error: out.h5: the disk is full; free some space and run again\n",
    )


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    for body in ("raise OSError(errno.EIO, 'odd')", "raise ZeroDivisionError"):
        done = run(body, "--who", "me")
        assert done.returncode == 1
        assert "Traceback" in done.stderr


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("open('params.yaml', 'a').write('# later')", 1)])
def test_a_stage_whose_parameters_changed_under_it_fails(tmp_path: Path, body: str, code: int) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    source = STAGE.format(arguments="who: str", body=body, names="'who'")
    command = [sys.executable, "-c", source, "--who", "me"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("error: params.yaml: changed while this ran" in done.stderr) == bool(code)
