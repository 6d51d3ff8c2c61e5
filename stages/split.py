"""Stage split: the labelled utterances of a benchmark with their features, divided into folds."""

from pipeline import cli, paths
from pipeline.data.manifest import Manifest
from pipeline.params import load_params
from pipeline.splits.benchmark import build_benchmark


def split(benchmark: str) -> None:
    """Build the folder of BENCHMARK."""
    params = load_params(benchmarks=benchmark)
    protocol = params.benchmarks[benchmark]
    counts = build_benchmark(
        paths.benchmark(benchmark),
        Manifest.read(paths.manifest(protocol.corpus)),
        {m: paths.features(name) for m, name in protocol.features},
        protocol,
        f"benchmarks.{benchmark}",
        params.seed,
    )
    print(
        f"{benchmark}: {counts['used']} of {counts['manifest']} utterances, {counts['quarantined']} quarantined, "
        f"{counts['label_left_out']} without a label here"
    )


if __name__ == "__main__":
    cli.run(split, "benchmark")
