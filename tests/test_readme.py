"""What the README tells people to type works, and what it states is so."""

import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.params import load_params

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    command
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if (command := line.split("#")[0].strip())
]
OVERRIDES = re.findall(r"-S ([\w.]+)=(\w+)", README)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_knows_the_target(command: str) -> None:
    subprocess.run(["make", "--dry-run", *command.split()[1:]], cwd=ROOT, check=True, capture_output=True)


def test_the_first_screen_has_both_commands() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]
    assert README.index("make test") < 1200


@pytest.mark.parametrize(("key", "value"), OVERRIDES, ids=[key for key, _ in OVERRIDES])
def test_every_override_names_a_key_that_is_written_out(key: str, value: str) -> None:
    found = YAML(typ="safe").load(ROOT / "params.yaml")
    for part in key.split("."):
        assert part in found, f"{key}: dvc refuses -S for a key that is not in params.yaml"
        found = found[part]
    assert str(found) != value, f"{key} is {value} already: the command would change nothing"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:docs/\w+\.md|CONTRIBUTING\.md|CITATION\.cff)", README))))
def test_every_document_it_names_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_every_module_it_runs_exists() -> None:
    for module in re.findall(r"python -m (stages\.\w+)", README):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_shipped_study_is_demo_and_the_way_back_to_it_is_kept() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "studies/demo.yaml").read_text()
    assert list(load_params(ROOT / "params.yaml").benchmarks) == ["demo"]


def test_no_placeholder_is_left() -> None:
    assert not re.search(r"^(TABLE|TIMES)$", README, re.MULTILINE)
