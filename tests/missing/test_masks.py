"""The bank of masks: drawn once, the same for everyone, and never read when damaged."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.data.modalities import MODALITIES
from pipeline.errors import DataError
from pipeline.missing.masks import MaskBank, draw_masks
from pipeline.missing.patterns import draw
from pipeline.schema import BurstsMissing, FramesMissing, ModalitiesMissing, TestMissing
from pipeline.seeding import stream

MISSING = TestMissing(
    frames=FramesMissing(rates=(0.0, 0.3, 0.6), repeats=2),
    bursts=BurstsMissing(rates=(0.5,)),
    modalities=ModalitiesMissing(sets=("t", "av")),
)
LENGTHS = {f"u{i}": {"text": i % 4, "audio": 3 * i, "vision": 0} for i in range(8)}
FOLDS = {"one": ["u1", "u2", "u5"], "two": ["u0", "u7"]}
WORDS = (2021, "demo")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    draw_masks(tmp_path / "masks.h5", MISSING, FOLDS, LENGTHS, WORDS)
    return tmp_path / "masks.h5"


def test_the_bank_holds_what_the_patterns_draw(path: Path) -> None:
    bank = MaskBank(path)
    assert bank.folds == ["one", "two"]
    assert bank.patterns("one") == ["bursts", "frames", "modalities"]
    assert bank.conditions("two", "frames") == ["0.0", "0.3", "0.6"]
    for fold, ids in FOLDS.items():
        for name in bank.patterns(fold):
            masks = bank.masks(fold, name)
            drawn = [
                draw(getattr(MISSING, name), LENGTHS[utt_id], partial(stream, *WORDS, "mask", fold, name, utt_id))
                for utt_id in ids
            ]
            assert masks.utt_ids == ids
            assert masks.conditions == bank.conditions(fold, name)
            for m in MODALITIES:
                assert masks.keep[m].dtype == bool
                assert np.array_equal(masks.keep[m], np.concatenate([keep[m] for keep in drawn], axis=2))


def test_the_same_content_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    draw_masks(tmp_path / "again.h5", MISSING, dict(reversed(FOLDS.items())), LENGTHS, WORDS)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def _rows(path: Path, fold: str, pattern: str) -> dict[str, dict[str, np.ndarray]]:
    masks = MaskBank(path).masks(fold, pattern)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for m in MODALITIES:
        ends = np.cumsum([LENGTHS[utt_id][m] for utt_id in masks.utt_ids])
        for utt_id, part in zip(masks.utt_ids, np.split(masks.keep[m], ends[:-1], axis=2), strict=True):
            parts.setdefault(utt_id, {})[m] = part
    return parts


def test_a_mask_depends_neither_on_the_other_utterances_nor_on_their_order(path: Path, tmp_path: Path) -> None:
    draw_masks(tmp_path / "b.h5", MISSING, {"one": ["u7", "u5", "u1"]}, LENGTHS, WORDS)
    one, other = _rows(path, "one", "frames"), _rows(tmp_path / "b.h5", "one", "frames")
    for utt_id in ("u1", "u5"):
        for m in MODALITIES:
            assert np.array_equal(one[utt_id][m], other[utt_id][m])


def test_a_mask_depends_neither_on_the_other_patterns_nor_on_the_grid(path: Path, tmp_path: Path) -> None:
    missing = TestMissing(frames=FramesMissing(rates=(0.3, 0.45), repeats=1))
    draw_masks(tmp_path / "b.h5", missing, FOLDS, LENGTHS, WORDS)
    one, other = (MaskBank(p).masks("one", "frames") for p in (path, tmp_path / "b.h5"))
    for m in MODALITIES:
        assert np.array_equal(one.keep[m][1, :1], other.keep[m][0])


@pytest.mark.parametrize("words", [(2022, "demo"), (2021, "other")])
def test_another_seed_or_benchmark_gives_other_masks(path: Path, tmp_path: Path, words: tuple[int, str]) -> None:
    draw_masks(tmp_path / "b.h5", MISSING, FOLDS, LENGTHS, words)
    one, other = MaskBank(path), MaskBank(tmp_path / "b.h5")
    assert not np.array_equal(one.masks("two", "frames").keep["audio"], other.masks("two", "frames").keep["audio"])
    assert one.sha256 != other.sha256


def test_the_hash_changes_with_the_ids_alone(path: Path, tmp_path: Path) -> None:
    missing = TestMissing(modalities=ModalitiesMissing(sets=("tav",)))
    lengths = {utt_id: dict.fromkeys(MODALITIES, 2) for utt_id in LENGTHS}
    digests = set()
    for ids in (["u1", "u2"], ["u1", "u3"]):
        draw_masks(tmp_path / "b.h5", missing, {"one": ids}, lengths, WORDS)
        digests.add(MaskBank(tmp_path / "b.h5").sha256)
    assert len(digests) == 2


def test_a_fold_or_pattern_that_was_not_drawn_is_refused(path: Path) -> None:
    bank = MaskBank(path)
    for fold, pattern in (("three", "frames"), ("one", "bernoulli")):
        with pytest.raises(DataError, match=f"no masks for fold '{fold}', pattern '{pattern}'; run the mask stage"):
            bank.masks(fold, pattern)
    with pytest.raises(DataError, match="no masks for fold 'three'"):
        bank.patterns("three")


def test_a_flipped_byte_in_the_masks_is_an_error(path: Path) -> None:
    with h5py.File(path) as file:
        spans = {
            (fold, m): (info.byte_offset, info.size)
            for fold in FOLDS
            for m in ("text", "audio")
            for info in [file[fold]["frames"][m].id.get_chunk_info(0)]
        }
    whole = path.read_bytes()
    for (fold, _), (start, size) in spans.items():
        for place in range(start, start + size):
            damaged = bytearray(whole)
            damaged[place] ^= 0x01
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"masks\.h5: damaged .* delete it and run"):
                MaskBank(path).masks(fold, "frames")


def test_what_is_no_bank_is_an_error(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5: no such file"):
        MaskBank(tmp_path / "none.h5")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"masks\.h5: not a mask bank"):
        MaskBank(path)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(DataError, match=r"other\.h5: not a mask bank"):
        MaskBank(tmp_path / "other.h5")


def test_an_utterance_with_nothing_at_all_has_masks_without_steps(tmp_path: Path) -> None:
    draw_masks(tmp_path / "b.h5", MISSING, {"one": ["u0"]}, LENGTHS, WORDS)
    assert {m: k.shape for m, k in MaskBank(tmp_path / "b.h5").masks("one", "frames").keep.items()} == dict.fromkeys(
        MODALITIES, (3, 2, 0)
    )
