"""Where every artifact lives, relative to the folder a stage runs in (the root of the checkout)."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
STUDIES = Path("studies")
DATA = Path("data")
METRICS = Path("metrics")


def raw(corpus: str) -> Path:
    """The corpus as its owner ships it; a symbolic link will do."""
    return DATA / "raw" / corpus


def manifest(corpus: str) -> Path:
    """One row per kept utterance."""
    return DATA / "manifests" / f"{corpus}.csv"


def dropped(corpus: str) -> Path:
    """One row per clip that the reader left out, with the reason."""
    return DATA / "manifests" / f"{corpus}.dropped.csv"


def decoded(corpus: str) -> Path:
    """The folder of decoded streams: text.h5, audio.h5, faces.h5, frames.h5, clips.csv, quarantine.csv."""
    return DATA / "decoded" / corpus


def stream(corpus: str, name: str) -> Path:
    """One decoded stream."""
    return decoded(corpus) / f"{name}.h5"


def features(feature_set: str) -> Path:
    """One feature set; `mosi/audio` is the audio that the feature corpus `mosi` brings."""
    return DATA / "features" / f"{feature_set}.h5"


def benchmark(name: str) -> Path:
    """The folder that holds all that training may read."""
    return DATA / "benchmarks" / name


def masks(benchmark_name: str) -> Path:
    """The test masks of one benchmark."""
    return DATA / "masks" / f"{benchmark_name}.h5"


def models(benchmark_name: str, method: str) -> Path:
    """Trained models: {row}/{fold}/{seed}.safetensors."""
    return DATA / "models" / benchmark_name / method


def predictions(benchmark_name: str, method: str) -> Path:
    """Predictions of one method under every mask."""
    return DATA / "predictions" / benchmark_name / f"{method}.h5"


def reconstructions(benchmark_name: str, method: str) -> Path:
    """What the method's fillers put into holes of the test part: errors and projections, by row."""
    return DATA / "reconstructions" / benchmark_name / f"{method}.json"


def scores(benchmark_name: str) -> Path:
    """All scores of one benchmark."""
    return METRICS / "scores" / f"{benchmark_name}.json"


def curves(benchmark_name: str) -> Path:
    """Scores over missing rates, for `dvc plots`."""
    return METRICS / "curves" / f"{benchmark_name}.csv"


def costs(benchmark_name: str, method: str) -> Path:
    """Seconds and memory of one training; varies from run to run."""
    return METRICS / "costs" / benchmark_name / f"{method}.json"


def evaluation_costs(benchmark_name: str, method: str) -> Path:
    """Seconds and memory of one evaluation; varies from run to run."""
    return METRICS / "costs" / benchmark_name / f"{method}.evaluate.json"


def published(name: str) -> Path:
    """Figures that a paper printed; committed, and read by the report alone."""
    return STUDIES / "published" / f"{name}.csv"


def extraction_costs(feature_set: str) -> Path:
    """Clips a second of one extraction; varies from run to run."""
    return METRICS / "costs" / f"{feature_set}.json"


def scratch() -> Path:
    """Working space of unfinished jobs; safe to delete at any time. `LACUNA_SCRATCH` moves it."""
    return Path(os.environ.get("LACUNA_SCRATCH") or ".scratch")
