"""What params.yaml asks of an extractor, checked against its file and against the weights on the disk."""

from pathlib import Path
from types import ModuleType

from pipeline import registry
from pipeline.errors import DataError, ParamsError
from pipeline.extraction.weights import RANDOM, Checkpoint
from pipeline.extractors.protocol import ExtractorOptions
from pipeline.schema import FeatureSet
from pipeline.section import options


def chosen_options(name: str, params: FeatureSet) -> ExtractorOptions:
    """The options of the chosen extractor, defaults included.

    Args:
        name: key of `features`, for messages.
        params: the feature set.

    Raises:
        ParamsError: unknown extractor or options, or a stream that the extractor does not read.
    """
    where, known = f"params.yaml: features.{name}", registry.names("extractors")
    for other in params.options:
        if other not in known:
            raise ParamsError(f"{where}.options.{other}: no such extractor, expected one of {', '.join(known)}")
    module = check_stream(name, params)
    given = params.options.get(params.extractor, {})
    found: ExtractorOptions = options(module.Options, given, f"features.{name}.options.{params.extractor}")
    return found


def check_stream(name: str, params: FeatureSet) -> ModuleType:
    """The module of the chosen extractor.

    Raises:
        ParamsError: unknown extractor, or a stream that it does not read.
    """
    module = registry.load("extractors", params.extractor, f"features.{name}.extractor")
    reads = registry.entry_class(module, "extract").stream
    if reads not in {params.stream, "any"}:
        raise ParamsError(
            f"params.yaml: features.{name}.stream: found '{params.stream}', expected '{reads}', which extractor "
            f"'{params.extractor}' reads"
        )
    return module


def check_weights(name: str, params: FeatureSet) -> Checkpoint | None:
    """What the extractor reads beside the stream; None where that is nothing.

    Raises:
        ParamsError: weights that the extractor does not have, or not named as they must be.
    """
    where = f"params.yaml: features.{name}"
    module = registry.load("extractors", params.extractor, f"features.{name}.extractor")
    checkpoint: Checkpoint | None = registry.entry_class(module, "extract").checkpoint
    if checkpoint is None and (params.weights or params.weights_sha256):
        raise ParamsError(
            f"{where}.weights: extractor '{params.extractor}' has none, expected weights and weights_sha256 to be null"
        )
    if params.weights == RANDOM and params.weights_sha256:
        raise ParamsError(f"{where}.weights_sha256: random weights have none, expected null")
    if checkpoint:
        checkpoint.check(params.weights, f"{where}.weights")
    return checkpoint


def find_weights(name: str, params: FeatureSet) -> tuple[str | None, str | None]:
    """Where the weights are (a path, `random` or None) and their hash.

    Raises:
        ParamsError: as `check_weights`, or no hash is given; the message has it.
        DataError: a file is missing, or has another hash.
    """
    checkpoint, where = check_weights(name, params), f"params.yaml: features.{name}"
    if checkpoint is None or params.weights == RANDOM:
        return params.weights, None
    path: Path = checkpoint.find(params.weights, f"{where}.weights")
    found = checkpoint.sha256(path)
    if params.weights and not params.weights_sha256:
        raise ParamsError(
            f"{where}.weights_sha256: found null, expected the hash of {path}, by which DVC notices other weights; "
            f"write {found} there"
        )
    if params.weights_sha256 not in {None, found}:
        raise DataError(
            f"{where}.weights_sha256: the weights in {path} have {found}, expected {params.weights_sha256}; "
            "put the right files in place or correct the hash"
        )
    return str(path), found
