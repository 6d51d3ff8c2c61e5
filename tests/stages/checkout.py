"""A small checkout of its own, for tests that run DVC."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Checkout:
    """A git clone of the working tree, with its own DVC cache."""

    path: Path

    def run(self, *command: str, expect: int = 0, **environment: str) -> str:
        """Run a command of the environment; its output, both streams."""
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.path,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        output = result.stdout + result.stderr
        assert result.returncode == expect, output
        return output

    def repro(self, **environment: str) -> list[str]:
        """`dvc repro`; the stages that really ran, in order, but for `check`, which any changed parameter runs."""
        return [stage for stage in stages_run(self.run("dvc", "repro", **environment)) if stage != "check"]

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change params.yaml."""
        yaml = YAML()
        path = self.path / "params.yaml"
        params = yaml.load(path)
        change(params)
        yaml.dump(params, path)

    def touch_code(self, *files: str) -> None:
        """Add a comment to source files."""
        for file in files:
            path = self.path / file
            path.write_text(path.read_text() + "\n# changed\n")


def stages_run(output: str) -> list[str]:
    """The stages that DVC says it runs."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def copy_working_tree(target: Path) -> Checkout:
    """Copy what git would commit, and make a repository of it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("metrics/curves") and name not in {"dvc.lock"}:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(target)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "start"], check=True)
    return Checkout(target)


def shrink(params: dict[str, Any]) -> None:
    """The demo study in a size that takes a minute: the same stages, the same kinds of method."""
    params["synthetic"]["demo"]["options"] |= {"clips": 48}
    params["corpora"]["demo"]["decode"] |= {"face_hz": 2.0}
    benchmark = params["benchmarks"]["demo"]
    benchmark["seeds"] = [1]
    benchmark["missing"]["test"]["frames"] = {"rates": [0.0, 0.5, 0.9], "repeats": 1}
    params["features"]["demo_text"]["extractor"] = "absent"
    params["features"]["demo_audio"]["extractor"] = "egemaps"
    params["methods"] = {
        "majority": {},
        "mct_hfr": {
            "regime": "dynamic",
            "p_miss": 0.2,
            "alpha": 0.4,
            "beta": 0.6,
            "width": 8,
            "heads": 2,
            "ffn": 8,
            "layers": 1,
            "lfi_depth": 1,
            "epochs": 1,
        },
        "mlp": {"hidden": [8], "epochs": 2, "decay_every": None, "variants": {"mean": {"filler": "mean"}}},
    }
