"""Stage generate: from params.yaml to a corpus on disk, and every way in which it refuses."""

from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.files import read_csv
from stages.generate import generate

PARAMS = """
seed: 5
synthetic:
  demo: {generator: demo, options: {clips: 10, px: 48, noise: 0}}
  wrong: {generator: demo, options: {clips: 10, pixels: 48}}
  real: {generator: ravdess, options: {}}
  unknown: {generator: demmo, options: {}}
corpora: {}
feature_corpora: {}
features: {}
benchmarks: {}
training: {}
methods: {}
score: {}
report: {title: test}
"""


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_corpus_lands_in_the_raw_folder(checkout: Path):
    generate("demo")
    rows = read_csv(checkout / "data" / "raw" / "demo" / "metadata.csv")
    assert len(rows) == 10
    assert len(list((checkout / "data" / "raw" / "demo" / "clips").rglob("*.mp4"))) == 10
    assert sorted(path.name for path in (checkout / "data" / "raw").iterdir()) == ["demo"]


def test_the_seed_of_params_is_used(checkout: Path):
    generate("demo")
    table = checkout / "data" / "raw" / "demo" / "metadata.csv"
    before = table.read_bytes()
    (checkout / "params.yaml").write_text(PARAMS.replace("seed: 5", "seed: 6"))
    generate("demo")
    assert table.read_bytes() != before


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ("wrong", r"synthetic\.wrong\.options\.pixels: unknown key"),
        ("real", "'ravdess' cannot be generated, it is only read"),
        (
            "unknown",
            r"synthetic\.unknown\.generator: 'demmo' has no file pipeline/corpora/demmo\.py, did you mean 'demo'\?",
        ),
        ("absent", "synthetic: no 'absent', expected one of demo, real, unknown, wrong"),
    ],
)
def test_a_section_that_cannot_be_generated_is_refused(corpus: str, message: str, checkout: Path):
    with pytest.raises(ParamsError, match=message):
        generate(corpus)
    assert not (checkout / "data").exists()
