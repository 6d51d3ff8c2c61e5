"""Stage extract: turn one decoded stream of a corpus into one feature set."""

from pipeline import cli, paths
from pipeline.errors import ParamsError
from pipeline.extractors.runner import extract_features
from pipeline.params import load_params


def extract(features: str) -> None:
    """Extract the feature set FEATURES."""
    feature_sets = load_params().features
    if features not in feature_sets:
        known = ", ".join(feature_sets) or "none yet"
        raise ParamsError(f"params.yaml: features.{features}: no such feature set, expected one of {known}")
    params = feature_sets[features]
    extract_features(
        name=features,
        params=params,
        source=paths.stream(params.corpus, params.stream),
        target=paths.features(features),
        scratch=paths.scratch() / "extract",
    )


if __name__ == "__main__":
    cli.run(extract, "features")
