"""Weights on the user's disk: what is missing is said at once, what is there has a hash that anyone can check."""

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import DataError, ParamsError
from pipeline.extraction.weights import Checkpoint

FOLDER = Checkpoint("some-model", "https://example.org/model", ("config.json", "model.safetensors|model.bin"))
FILE = Checkpoint("some vectors", "https://example.org/vectors", random=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "some-model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.bin").write_bytes(b"weights")
    return made


def test_a_folder_is_found_with_either_of_its_alternatives(folder):
    assert FOLDER.find(str(folder), "where") == folder
    (folder / "model.bin").rename(folder / "model.safetensors")
    assert FOLDER.find(str(folder), "where") == folder


def test_hash_of_a_folder_is_that_of_the_documented_command(folder):
    (folder / "readme.md").write_text("does not count")
    command = "sha256sum config.json model.bin | sha256sum"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert FOLDER.sha256(folder) == done.stdout.split()[0]


def test_hash_of_a_folder_changes_with_any_file_that_counts(folder):
    before = FOLDER.sha256(folder)
    (folder / "config.json").write_text('{"layers": 2}')
    assert FOLDER.sha256(folder) != before


def test_hash_of_a_file_is_plain_sha256(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\n")
    done = subprocess.run(["sha256sum", tmp_path / "v.txt"], capture_output=True, text=True, check=True)
    assert FILE.sha256(tmp_path / "v.txt") == done.stdout.split()[0]


@pytest.mark.parametrize("missing", ["config.json", "model.bin"])
def test_a_missing_file_says_which_model_where_to_get_it_and_where_to_put_it(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(DataError) as caught:
        FOLDER.find(str(folder), "params.yaml: features.f.weights")
    wanted = "config.json" if missing == "config.json" else "model.safetensors or model.bin"
    assert str(caught.value) == (
        f"{folder}: no {wanted}, expected some-model (params.yaml: features.f.weights); get it from "
        "https://example.org/model and name a folder with config.json, model.safetensors or model.bin in `weights`, or "
        "`random` for an untrained one"
    )


def test_a_missing_file_of_vectors_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"v\.txt: no such file, expected some vectors \(w\); get it from .* the file in"
    ):
        FILE.find(str(tmp_path / "v.txt"), "w")


def test_nothing_named_is_refused_unless_a_package_brings_it(folder):
    with pytest.raises(ParamsError, match=r"^w: found null, expected where some-model is; get it from https://"):
        FOLDER.check(None, "w")
    packaged = Checkpoint("m", "u", ("config.json",), packaged=lambda: folder)
    packaged.check(None, "w")
    assert packaged.find(None, "w") == folder


def test_random_is_refused_where_there_is_no_network():
    FOLDER.check("random", "w")
    with pytest.raises(ParamsError, match=r"^w: found 'random', but some vectors is no network; get it from"):
        FILE.check("random", "w")
