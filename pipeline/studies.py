"""Studies: what params.yaml may ask for, checked against the code and the data that are here."""

from pathlib import Path

from pipeline import paths
from pipeline.errors import LacunaError, ParamsError
from pipeline.extraction.request import check_stream, check_weights, find_weights
from pipeline.methods.protocol import models, variants
from pipeline.params import Params, read_sections
from pipeline.registry import load, load_generator, names
from pipeline.section import options


def code_problems(params: Params, *, planned: bool = False) -> list[str]:
    """Every block that a corpus, an extractor or a method of its own validates: what is wrong, one a line.

    Args:
        params: the study.
        planned: it is a ready-made study, which may name corpora that no reader is here for yet.
    """
    found: list[str] = []

    def attempt(check: object, *arguments: object) -> None:
        try:
            check(*arguments)  # type: ignore[operator]
        except LacunaError as error:
            found.extend(str(error).splitlines())

    for name, synthetic in params.synthetic.items():
        attempt(_check_generator, name, synthetic.generator, synthetic.options)
    for name, corpus in params.corpora.items():
        if corpus.reader in names("corpora") or not planned:
            attempt(_check_options, "corpora", corpus.reader, corpus.options, f"corpora.{name}", "reader", "options")
    for name, imported in params.feature_corpora.items():
        where = f"feature_corpora.{name}"
        attempt(_check_options, "importers", imported.importer, imported.options, where, "importer", "options")
    for name, features in params.features.items():
        for extractor, values in {features.extractor: {}, **features.options}.items():
            key = "extractor" if extractor == features.extractor else "options"
            attempt(_check_options, "extractors", extractor, values, f"features.{name}", key, f"options.{extractor}")
        if features.extractor in names("extractors"):
            attempt(check_stream, name, features)
            attempt(check_weights, name, features)
    for name, block in params.methods.items():
        attempt(_check_rows, name, block, params)
    if params.benchmarks and not params.methods:
        found.append("params.yaml: methods: empty while there are benchmarks; name at least one, majority for example")
    return found


def method_problems(path: Path) -> list[str]:
    """What is wrong with the blocks of methods in a file whose sections are not right themselves, one a line."""
    found: list[str] = []
    for name, block in (read_sections(path).get("methods") or {}).items():
        try:
            variants(name, block)
        except (LacunaError, AttributeError) as error:
            found += str(error).splitlines() if isinstance(error, LacunaError) else []
    return found


def data_problems(params: Params) -> list[str]:
    """What the study needs on disk and does not find, one a line."""
    found = []
    for name, corpus in params.corpora.items():
        if name not in params.synthetic and not any(paths.raw(name).glob("*")):
            found.append(
                f"{paths.raw(name)}: not there or empty; put the corpus '{corpus.reader}' there as its owner ships it, "
                "a symbolic link will do (docs/corpora.md says how to get it)"
            )
    for raw, importer in {imported.raw: imported.importer for imported in params.feature_corpora.values()}.items():
        if not any(paths.raw(raw).glob("*")):
            found.append(
                f"{paths.raw(raw)}: not there or empty; put the files there that the importer '{importer}' reads, a "
                "symbolic link will do (docs/corpora.md says which)"
            )
    for name, features in params.features.items():
        try:
            find_weights(name, features)
        except LacunaError as error:
            found.append(str(error))
    return found


def stale_artifacts(params: Params) -> list[Path]:
    """Predictions, costs, scores and curves of benchmarks and methods that the study does not have.

    DVC leaves what is no longer in its graph, and a dependency on a folder would see it.
    """
    wanted = {
        paths.DATA / "predictions": {paths.predictions(b, m) for b in params.benchmarks for m in params.methods},
        paths.DATA / "reconstructions": {
            paths.reconstructions(b, m) for b in params.benchmarks for m in params.methods
        },
        paths.METRICS / "costs": {
            path(b, m)
            for path in (paths.costs, paths.evaluation_costs)
            for b in params.benchmarks
            for m in params.methods
        }
        | {paths.extraction_costs(name) for name in params.features},
        paths.METRICS / "scores": {paths.scores(b) for b in params.benchmarks},
        paths.METRICS / "curves": {paths.curves(b) for b in params.benchmarks},
    }
    return sorted(
        path
        for folder, keep in wanted.items()
        for path in folder.rglob("*")
        if path.is_file() and path not in keep and not path.name.startswith(".")
    )


def _check_options(kind: str, name: str, values: dict[str, object], where: str, key: str, own: str) -> None:
    module = load(kind, name, f"{where}.{key}")
    options(module.Options, values, f"{where}.{own}")


def _check_rows(name: str, block: dict[str, object], params: Params) -> None:
    """The rows of a method and, for those of `one_to_one`, that every tested rate is trained."""
    for row in variants(name, block):
        if row.params.regime == "one_to_one":
            models(row, params.training.rates)
            for benchmark, own in params.benchmarks.items():
                tested = {rate for _, pattern in own.missing.test for rate in getattr(pattern, "rates", ())}
                if lacking := sorted(tested - set(params.training.rates)):
                    raise ParamsError(
                        f"params.yaml: training.rates: {row.row} trains one_to_one, and benchmarks.{benchmark} tests "
                        f"{', '.join(map(str, lacking))} as well; add what is tested"
                    )


def _check_generator(name: str, generator: str, values: dict[str, object]) -> None:
    module = load_generator(generator, f"synthetic.{name}.generator")
    options(module.Options, values, f"synthetic.{name}.options")
