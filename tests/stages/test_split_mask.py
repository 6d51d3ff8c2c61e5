"""Stages split and mask: from features to folds and masks, the same bytes every time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import paths
from pipeline.errors import DataError, ParamsError
from pipeline.files import read_csv, read_json
from pipeline.missing.masks import MaskBank
from stages.mask import mask
from stages.split import split


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_split_says_what_it_used(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split("tiny")
    assert capsys.readouterr().out == ("tiny: 62 of 64 utterances, 1 quarantined, 1 without a label here\n")
    assert read_json(paths.benchmark("tiny") / "folds.json")["protocol"] == "leave_one_session_out"


def test_masks_are_those_of_the_test_parts(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split("tiny")
    mask("tiny")
    assert capsys.readouterr().out.endswith("tiny: masks for 31 test utterances in 4 folds\n")
    bank = MaskBank(paths.masks("tiny"))
    lengths = {row["utt_id"]: row for row in read_csv(paths.benchmark("tiny") / "lengths.csv")}
    for fold in read_json(paths.benchmark("tiny") / "folds.json")["folds"]:
        assert bank.patterns(fold["name"]) == ["frames", "modalities"]
        masks = bank.masks(fold["name"], "frames")
        assert masks.utt_ids == fold["test"]
        assert masks.conditions == ["0.0", "0.5"]
        for m, keep in masks.keep.items():
            assert keep.shape == (2, 2, sum(int(lengths[utt_id][m]) for utt_id in fold["test"]))


def test_both_give_the_same_bytes_again(workplace: Path) -> None:
    def run() -> dict[str, bytes]:
        split("tiny")
        mask("tiny")
        return contents(paths.benchmark("tiny")) | contents(paths.masks("tiny").parent)

    assert run() == run()


def test_masks_follow_the_root_seed(
    workplace: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    split("tiny")
    mask("tiny")
    before = MaskBank(paths.masks("tiny")).sha256
    study["seed"] = 8
    write_params(study, paths.PARAMS)
    mask("tiny")
    assert MaskBank(paths.masks("tiny")).sha256 != before


def test_a_label_outside_the_mapping_leaves_the_earlier_benchmark(
    workplace: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    split("tiny")
    before = contents(paths.benchmark("tiny"))
    del study["benchmarks"]["tiny"]["task"]["labels"]["merry"]
    write_params(study, paths.PARAMS)
    with pytest.raises(ParamsError, match="the corpus has the label 'merry'"):
        split("tiny")
    assert contents(paths.benchmark("tiny")) == before


def test_masks_without_a_benchmark_are_refused(workplace: Path) -> None:
    with pytest.raises(DataError, match=r"lengths\.csv: no such file; `dvc repro` makes it"):
        mask("tiny")
    assert not paths.masks("tiny").exists()
