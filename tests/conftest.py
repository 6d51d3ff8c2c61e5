"""Fixtures of the whole suite: datasets in memory, and a working folder with a tiny study whose features are ready."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from ruamel.yaml import YAML

from pipeline import paths
from pipeline.data.dataset import Column, Dataset
from pipeline.data.manifest import Manifest, Utterance
from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.data.store import Provenance, write_store
from pipeline.data.task import Task

settings.register_profile(
    "lacuna",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("lacuna")
pytest.register_assert_rewrite("tests.networks")  # its checks, too, say what they found

DIMS = {"text": 3, "audio": 2, "vision": 2}

STUDY = """
seed: 7
synthetic: {}
corpora:
  tiny: {reader: demo, options: {}, decode: {streams: [audio, faces]}}
feature_corpora: {}
features:
  tiny_text: {corpus: tiny, modality: text, stream: text, extractor: minilm, options: {}}
  tiny_audio: {corpus: tiny, modality: audio, stream: audio, extractor: mfcc, options: {}}
  tiny_vision: {corpus: tiny, modality: vision, stream: faces, extractor: hog_face, options: {}}
benchmarks:
  tiny:
    corpus: tiny
    features: {text: tiny_text, audio: tiny_audio, vision: tiny_vision}
    task: {kind: classification, labels: {happy: joy, merry: joy, sad: sadness, unsure: null}}
    folds: {protocol: leave_one_session_out, test_speakers: F}
    seeds: [1, 2]
    max_lengths: {text: 6, audio: 9, vision: 5}
    missing:
      test:
        frames: {rates: [0.0, 0.5], repeats: 2}
        modalities: {sets: [t, av, tav]}
training: {}
methods:
  majority: {}
  mlp: {hidden: [4], epochs: 3, batch_size: 8, learning_rate: 0.01, variants: {mean: {filler: mean}}}
score: {interval: 0.95}
report: {title: Tiny study}
"""


@pytest.fixture(autouse=True, scope="session")
def _single_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def study() -> dict[str, Any]:
    """A params.yaml as plain values, to be changed by a test."""
    return copy.deepcopy(YAML(typ="safe").load(STUDY))


def dump(values: Any, path: Path) -> Path:
    """Write a params.yaml."""
    YAML(typ="safe").dump(values, path)
    return path


@pytest.fixture
def write_params() -> Callable[[Any, Path], Path]:
    """`write_params(values, path)` writes a params.yaml."""
    return dump


def make_utterance(utt_id: str, **facts: Any) -> Utterance:
    """An utterance that is complete where `facts` says nothing."""
    known = {
        "dialogue": "d", "turn": 0, "speaker": "s", "sex": "F", "session": "1", "split": "train", "video": "",
        "audio": "", "start": 0.0, "end": 1.5, "text": "yes", "label_raw": "happy", "extras": {},
    }  # fmt: skip
    return Utterance(utt_id=utt_id, **{**known, **facts})


@pytest.fixture(scope="session")
def utterance() -> Callable[..., Utterance]:
    """`utterance(utt_id, speaker=..., ...)`."""
    return make_utterance


def ragged(
    lengths: dict[str, list[int]], seed: int = 0, lift: float = 0.0, absent_steps: float = 0.0, classes: int = 2
) -> Dataset:
    """A dataset of these lengths; class k is lifted by k * `lift`, a share of steps is not present."""
    rng = np.random.default_rng(seed)
    count = len(lengths["text"])
    labels = np.arange(count) % classes
    columns = {}
    for m in MODALITIES:
        own = np.asarray(lengths[m], np.int64)
        values = rng.standard_normal((own.sum(), DIMS[m])) + lift * labels.repeat(own)[:, None]
        present = torch.from_numpy(rng.random(own.sum()) >= absent_steps)
        columns[m] = Column(
            values=torch.from_numpy(values).float().masked_fill(~present[:, None], 0.0),
            present=present,
            offsets=torch.from_numpy(own.cumsum() - own),
            lengths=torch.from_numpy(own),
            hop=0.1,
        )
    ids = [f"u{i:03d}" for i in range(count)]
    return Dataset(
        columns=columns,
        labels=torch.from_numpy(labels),
        ids=ids,
        rows=[{"utt_id": utt_id} for utt_id in ids],
        task=Task(tuple(f"class{k}" for k in range(classes))),
        max_lengths={m: max([1, *lengths[m]]) for m in MODALITIES},
    )


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Dataset]:
    """`make_data(lengths, ...)`; or `make_data(40, ...)` for so many utterances of up to six steps, some absent."""

    def make(lengths: int | dict[str, list[int]], **options: Any) -> Dataset:
        if isinstance(lengths, int):
            rng = np.random.default_rng(5)
            lengths = {m: rng.integers(0, 7, lengths).tolist() for m in MODALITIES}
        return ragged(lengths, **options)

    return make


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: dict[str, Any]) -> Iterator[Path]:
    """A working folder: params.yaml, and the manifest and features of its corpus; one worker, nothing cached.

    Four sessions of two speakers with eight utterances each. `s1_F_0` has no text and no face, `s2_M_1` was
    quarantined, `s3_F_2` has the label `unsure`, which the benchmark leaves out.
    """
    from pipeline.training import jobs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LACUNA_JOBS", "1")
    monkeypatch.setenv("LACUNA_DEVICE", "cpu")
    monkeypatch.delenv("LACUNA_SCRATCH", raising=False)
    monkeypatch.delenv("LACUNA_ENGINE", raising=False)
    dump(study, tmp_path / "params.yaml")
    labels = ("happy", "sad", "merry", "sad")
    utterances = [
        make_utterance(
            f"s{session}_{sex}_{turn}", dialogue=f"s{session}", turn=turn, speaker=f"{session}{sex}", sex=sex,
            session=f"ses{session}", split=("train", "train", "valid", "test")[session - 1],
            label_raw="unsure" if (session, sex, turn) == (3, "F", 2) else labels[turn % 4],
            extras={"synthetic": "yes", **{f"planted_{name}": "happy" for name in MODALITY_SETS}},
        )
        for session in range(1, 5) for sex in "FM" for turn in range(8)
    ]  # fmt: skip
    manifest = Manifest(utterances)
    manifest.write(paths.manifest("tiny"))
    rng = np.random.default_rng(0)
    for m in MODALITIES:
        rows = []
        for u in manifest.utterances:
            steps = 0 if u.utt_id == "s1_F_0" and m != "audio" else int(rng.integers(1, 12))
            rows.append((u.utt_id, rng.standard_normal((steps, DIMS[m])) + 2.0 * (u.label_raw == "sad"), None))
        rows = [row for row in rows if (row[0], m) != ("s2_M_1", "vision")]
        excluded = ["s2_M_1"] if m == "vision" else []
        write_store(paths.features(f"tiny_{m}"), rows, provenance(m), excluded)
    caches = [jobs.benchmark_dataset, jobs.benchmark_fingerprint]
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()
    torch.set_deterministic_debug_mode("default")


def provenance(modality: str, **facts: Any) -> Provenance:
    """What made a store of a modality in these tests."""
    known = {"extractor": "made", "version": "1", "options": {}, "dim": DIMS[modality], "hop": 0.1}
    return Provenance(modality, **{**known, **facts}, weights_sha256=None, source_sha256="0" * 64)


@pytest.fixture(scope="session")
def made_by() -> Callable[..., Provenance]:
    """`made_by(modality, dim=...)`: the provenance of a store."""
    return provenance
