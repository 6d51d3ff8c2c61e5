"""Stage extract: turn one decoded stream of a corpus into one feature set."""

from dataclasses import asdict

from pipeline import cli, paths
from pipeline.extraction.runner import extract_features
from pipeline.files import write_json
from pipeline.params import load_params


def extract(features: str) -> None:
    """Extract the feature set FEATURES."""
    params = load_params(features=features)
    own = params.features[features]
    speed = extract_features(
        name=features,
        params=own,
        source=paths.stream(own.corpus, own.stream),
        target=paths.features(features),
        scratch=paths.scratch() / "extract",
    )
    write_json(paths.extraction_costs(features), asdict(speed))


if __name__ == "__main__":
    cli.run(extract, "features")
