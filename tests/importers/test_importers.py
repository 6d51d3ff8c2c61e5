"""Every importer: what it declares, and real features where they are beside the checkout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import paths, registry
from pipeline.data.manifest import Manifest
from pipeline.data.modalities import MODALITIES
from pipeline.data.store import FeatureStore
from pipeline.errors import DataError
from pipeline.importers.protocol import Imported, Sequences, media_free
from stages.import_features import import_features

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = {"mosi_utterance": "mosi_utterance", "ict_mmmo": "ict_mmmo", "ravdess_av": "ravdess_av_features"}
EXPECTED = {
    "mosi_utterance": (2199, {"text": (0, 1, 100), "audio": (0, 1, 73), "vision": (0, 1, 100)}),
    "ict_mmmo": (340, {"text": (220, 20, 300), "audio": (0, 20, 74), "vision": (0, 20, 36)}),
    "ravdess_av": (1080, {"text": (1080, 0, 1), "audio": (0, 1, 259), "vision": (0, 1, 35)}),
}
"""Utterances; per modality how many lack it, its longest sequence and its width."""


def real(name: str) -> Path:
    """The folder of real features."""
    folder = SHARED / FOLDERS[name]
    if not folder.is_dir():
        pytest.skip(f"no real features in {folder}")
    return folder


@pytest.mark.parametrize("name", registry.names("importers"))
def test_a_module_has_what_an_importer_needs(name: str) -> None:
    module = registry.load("importers", name)
    assert module.VERSION
    assert "https://" in str(module.__doc__)
    assert module.Options()
    with pytest.raises(ValueError, match="colour"):
        module.Options(colour=1)


@pytest.mark.parametrize("name", registry.names("importers"))
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    module = registry.load("importers", name)
    with pytest.raises(DataError, match=rf"{tmp_path}.*: no such file; put"):
        module.read(tmp_path, module.Options())


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_real_features_become_a_manifest_and_three_stores(
    name: str, workplace: Path, study: dict[str, Any], write_params: Any
) -> None:
    study["feature_corpora"] = {"features": {"importer": name, "raw": "real"}}
    write_params(study, paths.PARAMS)
    paths.raw("real").parent.mkdir(parents=True)
    paths.raw("real").symlink_to(real(name))
    import_features("features")
    count, shapes = EXPECTED[name]
    manifest = Manifest.read(paths.manifest("features"))
    assert len(manifest) == count
    for m in MODALITIES:
        absent, longest, width = shapes[m]
        with FeatureStore(paths.features(f"features/{m}")) as store:
            assert store.ids == manifest.ids
            assert (store.provenance.extractor, store.provenance.dim) == (name, width)
            assert int((store.lengths() == 0).sum()) == absent
            assert int(store.lengths().max()) == longest
            assert len(store.provenance.source_sha256) == 64
    before = {m: paths.features(f"features/{m}").read_bytes() for m in MODALITIES}
    import_features("features")
    assert before == {m: paths.features(f"features/{m}").read_bytes() for m in MODALITIES}


@pytest.mark.real_data
def test_mosi_has_both_divisions_and_the_label_is_the_sign_of_the_score() -> None:
    module = registry.load("importers", "mosi_utterance")
    found: Imported = module.read(real("mosi_utterance"), module.Options())
    columns = [u.columns for u in found.reading.kept]
    for column, sizes in {
        "split": {"train": 1284, "valid": 229, "test": 686},
        "split_files": {"train": 1447, "test": 752},
    }.items():
        parts = [row[column] for row in columns]
        assert {part: parts.count(part) for part in set(parts)} == sizes
        videos = {part: {row["dialogue"] for row in columns if row[column] == part} for part in sizes}
        assert sum(map(len, videos.values())) == len(set().union(*videos.values())) == 93
    assert all((row["binary"] == "positive") == (float(row["score"]) >= 0) for row in columns)
    assert {row["seven"] for row in columns} == {str(k) for k in range(-3, 4)}
    majority = np.mean([row["binary"] == "negative" for row in columns if row["split_files"] == "test"])
    assert round(max(majority, 1 - majority), 3) == 0.621


@pytest.mark.real_data
def test_ict_mmmo_keeps_steps_that_were_not_measured_in_their_place() -> None:
    module = registry.load("importers", "ict_mmmo")
    found: Imported = module.read(real("ict_mmmo"), module.Options())
    vision = found.features["vision"]
    assert not all(present.all() for present in vision.present.values())
    for utt_id, audio in found.features["audio"].rows.items():
        assert len(audio) == len(vision.rows[utt_id])
        at_ends = np.stack([audio[[0, -1]].any(1), vision.rows[utt_id][[0, -1]].any(1)])
        in_text = found.features["text"].rows.get(utt_id)
        assert (at_ends.any(0) | (False if in_text is None else in_text[[0, -1]].any(1))).all()
    assert {float(u.label_raw) for u in found.reading.kept} <= {k / 2 for k in range(2, 11)}


def test_an_utterance_that_is_not_there_is_absent() -> None:
    row = Sequences(3, {"a": np.ones((2, 3), np.float32)}).row("b")
    assert row.values.shape == (0, 3)
    assert media_free("a", speaker="x").speaker == "x"


def test_rows_of_other_width_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "transcripts.csv").write_text('"a_1","YES","1","1"\n"a_2","NO","1"\n')
    module = registry.load("importers", "mosi_utterance")
    with pytest.raises(DataError, match=r"transcripts\.csv: line 2 has 3 values, expected 4 in every line"):
        module.read(tmp_path, module.Options())
