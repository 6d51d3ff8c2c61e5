"""One run at a time in one scratch folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.execution.lock import exclusive

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from pipeline.execution.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_free_again_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "new" / "scratch"):
            assert (tmp_path / "new" / "scratch").is_dir()


def test_a_second_holder_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path),
        pytest.raises(DataError, match=f"process {os.getpid()} is working on it; wait for it or stop it"),
        exclusive(tmp_path),
    ):
        pass


def test_a_lock_goes_with_its_process_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=f"process {holder.pid} is working on it"), exclusive(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    with exclusive(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
