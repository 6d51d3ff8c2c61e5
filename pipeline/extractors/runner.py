"""Run one extractor over one decoded stream: fixed shards in worker processes, resumable after a kill.

A shard is a run of consecutive utterances, computed the same way whoever computes it and saved under the hash of its
bytes; the store is put together from the shards in order, one in memory at a time. So neither the number of workers nor
an interruption changes a byte of the result, and memory does not grow with the corpus.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import registry
from pipeline.data.packed import Field, Packed, write_packed
from pipeline.data.store import FeatureStore, Provenance, Row, write_store
from pipeline.data.streams import AUDIO_RATE, AudioStream, ImageStream, TextStream
from pipeline.errors import ContractError, DataError, ParamsError
from pipeline.execution.jobs import run_jobs
from pipeline.execution.lock import exclusive
from pipeline.extractors.protocol import Extractor, Features
from pipeline.files import sha256
from pipeline.params import options
from pipeline.progress import track
from pipeline.schema import FeatureSet

_STREAMS: dict[str, Any] = {"text": TextStream, "audio": AudioStream, "faces": ImageStream, "frames": ImageStream}


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to compute any shard of one feature set.

    Args:
        name: key of `features`.
        extractor: module in pipeline/extractors.
        options: its validated options as JSON.
        weights: folder or file of its weights, or None.
        stream: kind of the stream.
        source: file of the stream.
        folder: where shards go; named after a hash of all that decides their bytes.
    """

    name: str
    extractor: str
    options: str
    weights: Path | None
    stream: str
    source: Path
    folder: Path


@dataclass(frozen=True)
class Shard:
    """Utterances `first` to `last` (excluded) of the stream."""

    recipe: Recipe
    index: int
    first: int
    last: int


def extract_features(name: str, params: FeatureSet, source: Path, target: Path, scratch: Path) -> None:
    """Write the feature store `target` of the stream `source`; goes on where a killed run stopped.

    Args:
        name: key of `features`, for messages and scratch space.
        params: the feature set.
        source: the decoded stream that it names.
        target: the store to make; zero steps for every utterance that is absent in the stream.
        scratch: folder for unfinished work; `scratch / name` is this feature set's.

    Raises:
        ParamsError: unknown extractor or options, a stream that the extractor does not read, weights that it lacks.
        DataError: stream or weights missing or damaged, another process at work, a full disk, NaN or infinity.
        ContractError: the extractor breaks its protocol.
    """
    started = time.monotonic()
    resolved = _resolve(name, params)
    weights = Path(params.weights) if params.weights else None
    with _STREAMS[params.stream](source) as stream:
        extractor = _build(params.extractor, resolved, weights, stream.attrs)
        _check_weights(name, params, extractor)
        provenance = Provenance(
            modality=params.modality,
            extractor=params.extractor,
            version=extractor.version,
            options=resolved,
            dim=extractor.dim,
            hop=extractor.hop,
            weights_sha256=extractor.weights_sha256,
            source_sha256=stream.content_sha256,
        )
        excluded, count, seconds = stream.excluded, len(stream), _seconds(params.stream, stream)
        folder = scratch / name / _key(provenance, stream.attrs, extractor.shard)
    recipe = Recipe(name, params.extractor, json.dumps(resolved), weights, params.stream, source, folder)
    starts = range(0, count, extractor.shard)
    shards = [Shard(recipe, i, first, min(first + extractor.shard, count)) for i, first in enumerate(starts)]
    with exclusive(scratch / name):
        waiting = [shard for shard in shards if _finished(shard) is None]
        clips = sum(shard.last - shard.first for shard in waiting)
        if clips < count:
            print(f"{name}: {count - clips} of {count} clips are there from an interrupted run")
        for _ in track(_compute(waiting), name, "clips", clips):
            pass
        write_store(target, _rows(shards), provenance, excluded)
        for left in (scratch / name).iterdir():
            if left.is_dir():
                shutil.rmtree(left)
    with FeatureStore(target) as store:
        absent = int((store.lengths() == 0).sum())
    line = f"{name}: {count} clips, {absent} absent, {len(excluded)} quarantined"
    if seconds is not None:
        media = sum(seconds[shard.first : shard.last].sum() for shard in waiting) / 3600
        line += f"; {media:.3f} hours of media, {media / (time.monotonic() - started):.4f} hours/s"
    print(line)


def _resolve(name: str, params: FeatureSet) -> dict[str, Any]:
    """The options of the chosen extractor, defaults included; raises unless it reads the stream."""
    where, known = f"params.yaml: features.{name}", registry.names("extractors")
    for other in params.options:
        if other not in known:
            raise ParamsError(f"{where}.options.{other}: no such extractor, expected one of {', '.join(known)}")
    module = registry.load("extractors", params.extractor, f"features.{name}.extractor")
    reads = registry.entry_class(module, "extract").stream
    if reads not in {params.stream, "any"}:
        raise ParamsError(
            f"{where}.stream: found '{params.stream}', expected '{reads}', which extractor '{params.extractor}' reads"
        )
    given = params.options.get(params.extractor, {})
    model = options(module.Options, given, f"features.{name}.options.{params.extractor}")
    resolved: dict[str, Any] = model.model_dump(mode="json")
    return resolved


def _build(name: str, resolved: dict[str, Any], weights: Path | None, attrs: dict[str, Any]) -> Extractor:
    module = registry.load("extractors", name)
    extractor: Extractor = registry.entry_class(module, "extract")(
        options(module.Options, resolved, name), weights, attrs
    )
    return extractor


def _check_weights(name: str, params: FeatureSet, extractor: Extractor) -> None:
    """Raise unless the extractor has the weights that params.yaml names."""
    where = f"params.yaml: features.{name}"
    if extractor.weights_sha256 is None and (params.weights or params.weights_sha256):
        raise ParamsError(
            f"{where}.weights: extractor '{params.extractor}' has none, expected weights and weights_sha256 to be null"
        )
    if params.weights_sha256 and params.weights_sha256 != extractor.weights_sha256:
        raise DataError(
            f"{where}.weights_sha256: the weights have {extractor.weights_sha256}, expected {params.weights_sha256}; "
            "put the right file in place or correct the hash"
        )


def _key(provenance: Provenance, attrs: dict[str, Any], shard: int) -> str:
    """Hash all that decides the bytes of the shards, source code included."""
    code = registry.sources_sha256(f"pipeline.extractors.{provenance.extractor}", "pipeline.extractors.runner")
    decides = {"provenance": asdict(provenance), "attrs": attrs, "shard": shard, "code": code}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _seconds(kind: str, stream: Packed) -> npt.NDArray[np.float64] | None:
    """Seconds of media of every utterance `(N,)`; None for text, which has no duration."""
    if kind == "text":
        return None
    images = isinstance(stream, ImageStream)
    steps = np.diff(stream.offsets("frame_offsets" if images else "offsets"))
    return steps / (float(stream.attrs["rate"]) if images else AUDIO_RATE)


def _finished(shard: Shard) -> Path | None:
    """The file of a shard if it is there and undamaged; a damaged one is deleted."""
    for path in shard.recipe.folder.glob(f"{shard.index:06d}-*.h5"):
        if path.stem.partition("-")[2] == sha256(path):
            return path
        path.unlink()
    return None


def _compute(shards: Iterable[Shard]) -> Iterator[int]:
    """Compute shards in worker processes; yield once per utterance, for the progress bar."""
    try:
        for count in run_jobs(_compute_shard, shards):
            yield from range(count)
    finally:
        _worker.cache_clear()


def _compute_shard(shard: Shard) -> int:
    """Compute and save one shard (runs in a worker); return how many utterances it has."""
    recipe = shard.recipe
    extractor, stream, lengths = _worker(recipe)
    ids = stream.ids[shard.first : shard.last]
    there = [utt_id for utt_id, length in zip(ids, lengths[shard.first : shard.last], strict=True) if length]
    features = extractor.extract(stream, there) if there else []
    if len(features) != len(there):
        raise ContractError(
            f"{recipe.extractor}: {len(features)} results for {len(there)} utterances, expected one each"
        )
    found = dict(zip(there, features, strict=True))
    nothing = Features(np.empty((0, extractor.dim), np.float32))
    # Two steps, so that the name of a shard vouches for its bytes: a kill in between leaves only a `.part`.
    part = recipe.folder / f"{shard.index:06d}.part"
    fields = {"values": Field(np.float32, extractor.dim), "present": Field(np.bool_)}
    with write_packed(part, fields, {}) as writer:
        for utt_id in ids:
            values, present = _checked(recipe, extractor.dim, utt_id, found.get(utt_id, nothing))
            writer.add(utt_id, values=values, present=present)
    part.replace(recipe.folder / f"{shard.index:06d}-{sha256(part)}.h5")
    return len(ids)


@lru_cache(maxsize=1)
def _worker(recipe: Recipe) -> tuple[Extractor, Any, npt.NDArray[np.int64]]:
    """The extractor, the open stream and the lengths `(N,)` of its utterances (0 = absent), once per process."""
    stream = _STREAMS[recipe.stream](recipe.source)
    extractor = _build(recipe.extractor, json.loads(recipe.options), recipe.weights, stream.attrs)
    return extractor, stream, np.diff(stream.offsets())


def _checked(
    recipe: Recipe, dim: int, utt_id: str, features: Features
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Values and present of one utterance.

    Raises:
        ContractError: shape or type differ from the protocol, or there are features where nothing is present.
        DataError: NaN or infinity.
    """
    values = features.values
    present = np.ones(len(values), np.bool_) if features.present is None else features.present
    where = f"features.{recipe.name}: utterance '{utt_id}'"
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
    return values, present


def _rows(shards: Iterable[Shard]) -> Iterator[Row]:
    """Read finished shards one after another.

    Raises:
        DataError: a shard was damaged or removed while this run was at work.
    """
    for shard in shards:
        path = _finished(shard)
        if path is None:
            raise DataError(f"{shard.recipe.folder}: shard {shard.index} is damaged or gone; run again to redo it")
        with Packed(path, ("values", "present", "offsets")) as packed:
            offsets, values, present = packed.offsets(), packed.whole("values"), packed.whole("present")
            for utt_id, start, stop in zip(packed.ids, offsets[:-1], offsets[1:], strict=True):
                yield utt_id, values[start:stop], present[start:stop]
