"""Shards: runs of consecutive utterances, computed the same way whoever computes them, saved under their bytes' hash.

A shard is read and prepared in a thread ahead of the computation and saved in a thread behind it, so that the compute
device never waits for a disk or for a JPEG decoder.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from pipeline import registry
from pipeline.data.packed import Packed, write_packed
from pipeline.data.store import Row, store_fields
from pipeline.data.streams import AudioStream, ImageStream, TextStream
from pipeline.errors import ContractError, DataError
from pipeline.execution.jobs import workers
from pipeline.extraction.weights import RANDOM
from pipeline.extractors.protocol import Extractor, Features, Weights
from pipeline.files import sha256
from pipeline.section import options

STREAMS: dict[str, Any] = {"text": TextStream, "audio": AudioStream, "faces": ImageStream, "frames": ImageStream}


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to compute any shard of one feature set.

    Args:
        name: key of `features`.
        extractor: module in pipeline/extractors.
        options: its validated options as JSON, with nothing left that depends on the machine.
        weights: folder or file of its weights, `random`, or None.
        stream: kind of the stream.
        source: file of the stream.
        folder: where shards go; named after a hash of all that decides their bytes.
    """

    name: str
    extractor: str
    options: str
    weights: str | None
    stream: Literal["text", "audio", "faces", "frames"]
    source: Path
    folder: Path


@dataclass(frozen=True)
class Shard:
    """Utterances `first` to `last` (excluded) of the stream."""

    recipe: Recipe
    index: int
    first: int
    last: int


def build(name: str, resolved: dict[str, Any], weights: str | None, attrs: dict[str, Any]) -> Extractor:
    """An extractor with its options, weights and the attributes of its stream."""
    module = registry.load("extractors", name)
    own: Weights = RANDOM if weights == RANDOM else Path(weights) if weights else None
    made = registry.entry_class(module, "extract")(options(module.Options, resolved, name), own, attrs)
    return cast(Extractor, made)


def finished(folder: Path) -> dict[int, Path]:
    """The undamaged shards of a folder by their index; what is damaged or unfinished is removed."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("*.h5")):
        index, digest = _named(path)
        if index not in found and digest == sha256(path):
            found[index] = path
        else:
            path.unlink()
    for path in folder.glob("*.part"):
        path.unlink()
    return found


def compute(shards: Sequence[Shard]) -> Iterator[tuple[int, int, Path]]:
    """Compute and save shards of one recipe in their order.

    Yields:
        Index, number of utterances and file of every shard, when it is on the disk.

    Raises:
        DataError: content that cannot be used, NaN or infinity, a full disk.
        ContractError: the extractor breaks its protocol.
    """
    if not shards:
        return
    extractor, stream, lengths = _opened(shards[0].recipe)
    threads = ThreadPoolExecutor(max(2, workers()), "prepare")
    with ThreadPoolExecutor(1, "read") as ahead, ThreadPoolExecutor(1, "write") as behind, threads:

        def prepare(shard: Shard) -> tuple[list[str], list[Any]]:
            ids = stream.ids[shard.first : shard.last]
            there = [u for u, steps in zip(ids, lengths[shard.first : shard.last], strict=True) if steps]
            if extractor.stream == "any":
                return ids, list(threads.map(extractor.prepare, ids, [None] * len(ids)))
            contents = (stream.row(utt_id) for utt_id in there)
            return there, list(threads.map(extractor.prepare, there, contents))

        reading = ahead.submit(prepare, shards[0])
        writing: Future[tuple[int, int, Path]] | None = None
        try:
            for position, shard in enumerate(shards):
                ids, prepared = reading.result()
                if position + 1 < len(shards):
                    reading = ahead.submit(prepare, shards[position + 1])
                features = extractor.extract(prepared) if prepared else []
                if len(features) != len(ids):
                    made_by = shard.recipe.extractor
                    raise ContractError(
                        f"{made_by}: {len(features)} results for {len(ids)} utterances, expected one each"
                    )
                if writing:
                    yield writing.result()
                writing = behind.submit(_save, shard, stream, extractor, dict(zip(ids, features, strict=True)))
            if writing:
                yield writing.result()
        finally:
            for pool in (ahead, threads):
                pool.shutdown(wait=True, cancel_futures=True)


def compute_lane(shards: tuple[Shard, ...]) -> list[tuple[int, int, Path]]:
    """`compute`, as one job of a worker."""
    return list(compute(shards))


def read(path: Path, recipe: Recipe) -> Iterator[Row]:
    """The rows of one finished shard.

    Raises:
        DataError: it was damaged or removed while this run was at work.
    """
    index, digest = _named(path)
    if not path.is_file() or digest != sha256(path):
        raise DataError(f"{recipe.folder}: shard {index} is damaged or gone; run again to redo it")
    with Packed(path, ("values", "present", "offsets")) as packed:
        offsets, values, present = packed.offsets(), packed.whole("values"), packed.whole("present")
        tokens = packed.whole("tokens") if packed.attrs["tokens"] else None
        for utt_id, start, stop in zip(packed.ids, offsets[:-1], offsets[1:], strict=True):
            yield Row(utt_id, values[start:stop], present[start:stop], None if tokens is None else tokens[start:stop])


def forget_worker() -> None:
    """Close the stream and drop the extractor of this process."""
    _opened.cache_clear()


@lru_cache(maxsize=1)
def _opened(recipe: Recipe) -> tuple[Extractor, Any, npt.NDArray[np.int64]]:
    """The extractor, the open stream and the lengths `(N,)` of its utterances (0 = absent), once per process."""
    stream = STREAMS[recipe.stream](recipe.source)
    extractor = build(recipe.extractor, json.loads(recipe.options), recipe.weights, stream.attrs)
    return extractor, stream, np.diff(stream.offsets())


def _named(path: Path) -> tuple[int, str]:
    """Index and hash that the name of a shard's file says."""
    index, _, digest = path.stem.partition("-")
    return int(index), digest


def _save(shard: Shard, stream: Packed, extractor: Extractor, found: dict[str, Features]) -> tuple[int, int, Path]:
    recipe, ids = shard.recipe, stream.ids[shard.first : shard.last]
    nothing = Features(np.empty((0, extractor.dim), np.float32), tokens=np.empty(0, np.int32))
    # Two steps, so that the name of a shard vouches for its bytes: a kill in between leaves only a `.part`.
    part = recipe.folder / f"{shard.index:06d}.part"
    fields = store_fields(extractor.dim, tokens=extractor.has_tokens)
    with write_packed(part, fields, {"tokens": extractor.has_tokens}) as writer:
        for utt_id in ids:
            writer.add(utt_id, **_checked(recipe, extractor, utt_id, found.get(utt_id, nothing)))
    path = recipe.folder / f"{shard.index:06d}-{sha256(part)}.h5"
    part.replace(path)
    return shard.index, len(ids), path


def _checked(recipe: Recipe, extractor: Extractor, utt_id: str, features: Features) -> dict[str, npt.NDArray[Any]]:
    """The arrays of one utterance.

    Raises:
        ContractError: shape or type differ from the protocol, or there are features where nothing is present.
        DataError: NaN or infinity.
    """
    values, dim, where = features.values, extractor.dim, f"features.{recipe.name}: utterance '{utt_id}'"
    present = np.ones(len(values), np.bool_) if features.present is None else features.present
    if values.shape != (len(values), dim) or values.dtype != np.float32 or present.shape != (len(values),):
        raise ContractError(
            f"{where}: {recipe.extractor} gave values {values.shape} {values.dtype} and present {present.shape}, "
            f"expected (T, {dim}) float32 and (T,)"
        )
    if len(wrong := np.argwhere(~np.isfinite(values))):
        step, column = wrong[0]
        raise DataError(
            f"{where}: {recipe.extractor} gave {values[step, column]} at step {step}, feature {column}, expected "
            f"finite numbers; look at this clip in {recipe.source}, and mend the extractor or drop the clip"
        )
    if values[~present].any():
        raise ContractError(f"{where}: {recipe.extractor} gave features where nothing is present, expected 0 there")
    arrays: dict[str, npt.NDArray[Any]] = {"values": values, "present": present}
    if not extractor.has_tokens:
        return arrays
    tokens = features.tokens
    if tokens is None or tokens.shape != (len(values),) or tokens.dtype != np.int32:
        raise ContractError(f"{where}: {recipe.extractor} says that it gives tokens, expected ({len(values)},) int32")
    return arrays | {"tokens": tokens}


def key(*decides: Any) -> str:
    """Hash of all that decides the bytes of shards."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
