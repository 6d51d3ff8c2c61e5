"""Stage mask: draw the test masks of a benchmark, once, for every method."""

from pipeline import cli, paths
from pipeline.data.modalities import MODALITIES
from pipeline.files import read_csv, read_json
from pipeline.missing.masks import draw_masks
from pipeline.params import load_params


def mask(benchmark: str) -> None:
    """Draw the masks of BENCHMARK."""
    params = load_params(benchmarks=benchmark)
    folder = paths.benchmark(benchmark)
    lengths = {row["utt_id"]: {m: int(row[m]) for m in MODALITIES} for row in read_csv(folder / "lengths.csv")}
    folds = {fold["name"]: fold["test"] for fold in read_json(folder / "folds.json")["folds"]}
    missing = params.benchmarks[benchmark].missing.test
    draw_masks(paths.masks(benchmark), missing, folds, lengths, (params.seed, benchmark))
    print(f"{benchmark}: masks for {sum(map(len, folds.values()))} test utterances in {len(folds)} folds")


if __name__ == "__main__":
    cli.run(mask, "benchmark")
