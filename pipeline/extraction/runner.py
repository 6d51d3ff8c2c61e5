"""Run one extractor over one decoded stream: fixed shards in worker processes, resumable after a kill.

The store is put together from the shards in order, one in memory at a time. So neither the number of workers, nor the
machine that they run on, nor an interruption changes a byte of the result, and memory does not grow with the corpus.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import registry
from pipeline.data.packed import Packed
from pipeline.data.store import Provenance, Row, write_store
from pipeline.data.streams import AUDIO_RATE, ImageStream
from pipeline.execution.jobs import engine, run_jobs, workers
from pipeline.execution.lock import exclusive
from pipeline.execution.threads import one_thread
from pipeline.extraction import shards
from pipeline.extraction.network import natural_precision
from pipeline.extraction.request import chosen_options, find_weights
from pipeline.extraction.shards import Recipe, Shard
from pipeline.extraction.weights import RANDOM
from pipeline.extractors.protocol import Extractor, ExtractorOptions, NetworkOptions
from pipeline.progress import track
from pipeline.schema import FeatureSet

_LONGEST_LANE = 32
_LANES_PER_WORKER = 4


@dataclass(frozen=True)
class Speed:
    """What an extraction took; varies from run to run, so it never enters the store.

    Args:
        extractor: its name.
        clips: utterances computed in this run; those of an interrupted one are not counted again.
        hours: of media in these, or None for text.
        seconds: from start to finished store.
        workers: processes side by side.
        device: cpu, cuda ...; toolkits run on the processor.
        precision: of the network's products, or None where there is none.
        batch: padded steps of a batch, or None where there is no network.
        absent: utterances of the store without a step.
        quarantined: utterances without a row.
    """

    extractor: str
    clips: int
    hours: float | None
    seconds: float
    workers: int
    device: str
    precision: str | None
    batch: int | None
    absent: int
    quarantined: int


@dataclass
class _Count:
    """What goes into a store, counted on the way."""

    absent: int = 0
    steps: int = 0
    unseen: int = 0


def extract_features(name: str, params: FeatureSet, source: Path, target: Path, scratch: Path) -> Speed:
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
    resolved = _for_this_machine(chosen_options(name, params))
    weights, weights_sha256 = find_weights(name, params)
    with shards.STREAMS[params.stream](source) as stream:
        extractor = shards.build(params.extractor, resolved, weights, stream.attrs)
        provenance = Provenance(
            modality=params.modality,
            extractor=params.extractor,
            version=extractor.version,
            options=resolved,
            dim=extractor.dim,
            hop=extractor.hop,
            weights_sha256=weights_sha256,
            source_sha256=stream.content_sha256,
            random_weights=weights == RANDOM,
            tokens=extractor.has_tokens,
        )
        excluded, count, seconds = stream.excluded, len(stream), _seconds(params.stream, stream)
        absent = int((np.diff(stream.offsets()) == 0).sum())
        folder = scratch / name / _key(provenance, stream.attrs, extractor)
    recipe = Recipe(name, params.extractor, json.dumps(resolved), weights, params.stream, source, folder)
    starts = range(0, count, extractor.shard)
    parts = [Shard(recipe, i, first, min(first + extractor.shard, count)) for i, first in enumerate(starts)]
    with exclusive(scratch / name):
        found = shards.finished(folder)
        waiting = [part for part in parts if part.index not in found]
        clips = sum(part.last - part.first for part in waiting)
        print(f"{name}: {count} clips, {absent} absent in the {params.stream} stream, {len(excluded)} quarantined")
        if clips < count:
            print(f"{name}: {count - clips} of {count} clips are there from an interrupted run")
        network, at_once = _network(extractor)
        for _ in track(_computed(waiting, found, network, at_once), name, "clips", clips):
            pass
        counted = _Count()
        write_store(target, _rows([found[part.index] for part in parts], recipe, counted), provenance, excluded)
        for left in (scratch / name).iterdir():
            if left.is_dir():
                shutil.rmtree(left)
    speed = Speed(
        extractor=params.extractor,
        clips=clips,
        hours=None if seconds is None else sum(float(seconds[p.first : p.last].sum()) for p in waiting) / 3600,
        seconds=time.monotonic() - started,
        workers=workers(at_once),
        absent=counted.absent,
        quarantined=len(excluded),
        **network,
    )
    print(f"{name}: {_summary(speed, counted)}")
    for note in getattr(extractor, "notes", list)():
        print(f"{name}: {note}")
    return speed


def _for_this_machine(chosen: ExtractorOptions) -> dict[str, Any]:
    """Options as JSON, with `auto` replaced by what it stands for here: other machines are to do the same."""
    resolved: dict[str, Any] = chosen.model_dump(mode="json")
    if isinstance(chosen, NetworkOptions) and chosen.precision == "auto":
        resolved["precision"] = natural_precision()
    return resolved


def _network(extractor: Extractor) -> tuple[dict[str, Any], int | None]:
    """Device, precision and batch of an extractor, and how many may share the device."""
    if extractor.network is None:
        return {"device": "cpu", "precision": None, "batch": None}, None
    from pipeline.execution.device import compute_device, jobs_at_once

    network, device = extractor.network, compute_device()
    return {"device": device.type, "precision": network.precision, "batch": network.budget}, jobs_at_once()


def _key(provenance: Provenance, attrs: dict[str, Any], extractor: Extractor) -> str:
    """Hash of all that decides the bytes of the shards, source code included."""
    code = registry.sources_sha256(f"pipeline.extractors.{provenance.extractor}", "pipeline.extraction.shards")
    batch = extractor.network.budget if extractor.network else None
    return shards.key(asdict(provenance), attrs, extractor.shard, code, batch)


def _seconds(kind: str, stream: Packed) -> npt.NDArray[np.float64] | None:
    """Seconds of media of every utterance `(N,)`; None for text, which has no duration."""
    if kind == "text":
        return None
    images = isinstance(stream, ImageStream)
    steps = np.diff(stream.offsets("frame_offsets" if images else "offsets"))
    return steps / (float(stream.attrs["rate"]) if images else AUDIO_RATE)


def _computed(
    waiting: list[Shard], found: dict[int, Path], network: dict[str, Any], at_once: int | None
) -> Iterator[int]:
    """Compute shards, here or in workers; note their files, and yield once per utterance for the progress bar.

    A lane is what a worker does in one go: one shard where processors do the work; several, overlapping, where reading
    must not make a device wait or a worker is slow to start.
    """
    local = engine() == "local"
    try:
        if workers(at_once) == 1 and local:
            one_thread()
            lanes: Any = ([done] for done in shards.compute(waiting))
        else:
            long = network["device"] != "cpu" or not local
            most = len(waiting) // (_LANES_PER_WORKER * workers(at_once)) if long else 1
            size = max(1, min(_LONGEST_LANE, most))
            cuts = (tuple(waiting[first : first + size]) for first in range(0, len(waiting), size))
            lanes = run_jobs(shards.compute_lane, cuts, at_once)
        for lane in lanes:
            for index, count, path in lane:
                found[index] = path
                yield from range(count)
    finally:
        shards.forget_worker()


def _rows(paths: list[Path], recipe: Recipe, counted: _Count) -> Iterator[Row]:
    """All rows of finished shards, one shard in memory at a time."""
    for path in paths:
        for row in shards.read(path, recipe):
            counted.absent += not len(row.values)
            counted.steps += len(row.values)
            counted.unseen += 0 if row.present is None else int((~row.present).sum())
            yield row


def _summary(speed: Speed, counted: _Count) -> str:
    clips = f"{speed.absent} clip{'s' * (speed.absent != 1)}"
    line = f"{counted.steps} steps, {counted.unseen} of them not present; {clips} absent"
    if speed.clips:
        line += f"; {speed.clips / speed.seconds:.1f} clips/s"
        line += "" if speed.hours is None else f", {speed.hours * 3600 / speed.seconds:.1f} hours of media per hour"
        where = f"{speed.workers} worker{'s' if speed.workers > 1 else ''}"
        line += f" ({speed.device}, {where}{f', {speed.precision}' if speed.precision else ''})"
    return line
