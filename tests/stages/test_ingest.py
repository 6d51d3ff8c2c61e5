"""Stage ingest: from a corpus on disk to its manifest, and every way in which it refuses."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import cli, registry
from pipeline.corpora.protocol import CorpusOptions, Reading
from pipeline.data.manifest import Dropped, Manifest
from pipeline.errors import ContractError, DataError, ParamsError
from pipeline.files import read_csv
from stages.generate import generate
from stages.ingest import ingest

PARAMS = """
seed: 5
synthetic:
  demo: {generator: demo, options: {clips: 10, px: 48, noise: 0}}
corpora:
  demo: {reader: demo, options: {}}
  ravdess: {reader: ravdess, options: {allow_partial: true}}
  strict: {reader: ravdess, options: {alow_partial: true}}
feature_corpora: {}
features: {}
benchmarks: {}
training: {}
methods: {}
score: {}
report: {title: test}
"""
REAL_CLIPS = Path(__file__).parents[2].parent / "shared" / "data" / "ravdess_clips"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ravdess(*names: str) -> Path:
    folder = Path("data/raw/ravdess/Actor_01")
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_the_demo_corpus_goes_from_params_to_a_manifest(capsys: pytest.CaptureFixture[str]):
    generate("demo")
    ingest("demo")
    manifest = Manifest.read(Path("data/manifests/demo.csv"))
    assert len(manifest) == 10
    assert read_csv(Path("data/manifests/demo.dropped.csv")) == []
    assert manifest.utterances[0].video == "data/raw/demo/clips/session_1/s1_d01_t00.mp4"
    assert manifest.utterances[0].extras["synthetic"] == "yes"
    assert capsys.readouterr().out == "demo: 10 found, 10 kept, 0 dropped\n"


def test_kept_and_dropped_clips_are_both_written(capsys: pytest.CaptureFixture[str]):
    ravdess("01-01-05-02-01-02-01.mp4", "02-01-05-02-01-02-01.mp4")
    ingest("ravdess")
    assert Manifest.read(Path("data/manifests/ravdess.csv")).ids == ["01-01-05-02-01-02-01"]
    assert read_csv(Path("data/manifests/ravdess.dropped.csv")) == [
        {
            "clip": "Actor_01/02-01-05-02-01-02-01.mp4",
            "reason": "modality 02 (video only) is not in modality_codes",
        }
    ]
    assert capsys.readouterr().out == "ravdess: 2 found, 1 kept, 1 dropped\n"


def test_a_linked_corpus_keeps_the_path_of_the_link(checkout: Path):
    ravdess("01-01-05-02-01-02-01.mp4").parent.rename(checkout / "elsewhere")
    Path("data/raw/ravdess").symlink_to(checkout / "elsewhere")
    ingest("ravdess")
    (utterance,) = Manifest.read(Path("data/manifests/ravdess.csv")).utterances
    assert utterance.video == "data/raw/ravdess/Actor_01/01-01-05-02-01-02-01.mp4"


def test_a_corpus_that_is_missing_empty_or_not_a_folder_is_one_clear_line():
    with pytest.raises(DataError, match=r"^data/raw/ravdess: no such folder, expected .*; put it there or link it"):
        ingest("ravdess")
    Path("data/raw/ravdess").mkdir(parents=True)
    with pytest.raises(DataError, match=r"^data/raw/ravdess: is empty, expected"):
        ingest("ravdess")
    Path("data/raw/ravdess").rmdir()
    Path("data/raw/ravdess").touch()
    with pytest.raises(DataError, match=r"^data/raw/ravdess: is not a folder, expected"):
        ingest("ravdess")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", r"notes\.txt: not a RAVDESS name"),
        ("02-01-05-02-01-02-01.mp4", "no utterance is left"),
    ],
)
def test_a_corpus_that_cannot_be_read_leaves_an_earlier_manifest_untouched(name: str, message: str):
    folder = ravdess("01-01-05-02-01-02-01.mp4")
    ingest("ravdess")
    before = {path: path.read_bytes() for path in Path("data/manifests").iterdir()}
    (folder / "01-01-05-02-01-02-01.mp4").rename(folder / name)
    with pytest.raises(DataError, match=message):
        ingest("ravdess")
    assert {path: path.read_bytes() for path in Path("data/manifests").iterdir()} == before


def test_a_link_to_nothing_is_named(checkout: Path):
    folder = ravdess("01-01-05-02-01-02-01.mp4")
    (folder / "01-01-06-02-01-02-01.mp4").symlink_to(checkout / "gone.mp4")
    with pytest.raises(DataError, match=r"1 of 2 media files do not exist, first .*01-01-06-02-01-02-01\.mp4"):
        ingest("ravdess")


def test_a_reader_that_loses_clips_is_a_broken_contract(monkeypatch: pytest.MonkeyPatch):
    ravdess("01-01-05-02-01-02-01.mp4")
    broken = SimpleNamespace(Options=CorpusOptions, read=lambda *_: Reading([], [Dropped("one", "why")], 3))
    monkeypatch.setattr(registry, "load", lambda *_: broken)
    Path("params.yaml").write_text(PARAMS.replace("{allow_partial: true}", "{}"))
    with pytest.raises(ContractError, match=r"3 clips found, but 0 kept \+ 1 dropped = 1"):
        ingest("ravdess")


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ("strict", r"corpora\.strict\.options\.alow_partial: unknown key, did you mean 'allow_partial'\?"),
        ("meld", "corpora: no 'meld', expected one of demo, ravdess, strict"),
    ],
)
def test_a_section_that_cannot_be_read_is_refused(corpus: str, message: str):
    Path("data/raw/strict").mkdir(parents=True)
    Path("data/raw/strict/file").touch()
    with pytest.raises(ParamsError, match=message):
        ingest(corpus)


def test_the_command_line_ends_with_one_line_and_a_status(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["ingest", "--corpus", "ravdess"])
    with pytest.raises(SystemExit, match=r"^error: data/raw/ravdess: no such folder") as stopped:
        cli.run(ingest, "corpus")
    assert stopped.value.code not in (0, None)


@pytest.mark.real_data
def test_the_real_clips_are_ingested_through_a_link(capsys: pytest.CaptureFixture[str]):
    if not REAL_CLIPS.is_dir():
        pytest.skip(f"no {REAL_CLIPS}: real clips are not beside this checkout")
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/ravdess").symlink_to(REAL_CLIPS)
    ingest("ravdess")
    assert len(Manifest.read(Path("data/manifests/ravdess.csv"))) == 4
    assert capsys.readouterr().out == "ravdess: 8 found, 4 kept, 4 dropped\n"
