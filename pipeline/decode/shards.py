"""Shards: a few recordings decoded by one job and kept in scratch until the streams are put together."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.data.manifest import Manifest, Utterance
from pipeline.data.packed import Array, Field, Packed, write_packed
from pipeline.data.streams import Images
from pipeline.decode.clips import IMAGE_STREAMS, Clip, Quarantined, decode_recording
from pipeline.files import sha256
from pipeline.registry import sources_sha256
from pipeline.schema import Decode

_CLIPS = 16
_BYTES = 64 << 20
_OPEN = 8

_FIELDS: dict[str, Field] = {"pcm": Field(np.int16, axis="pcm_offsets")}
for _name in IMAGE_STREAMS:
    _FIELDS[f"{_name}_jpegs"] = Field(np.uint8, axis=f"{_name}_jpeg_offsets")
    _FIELDS[f"{_name}_bytes"] = Field(np.int32, axis=f"{_name}_offsets")
    _FIELDS[f"{_name}_times"] = Field(np.float32, axis=f"{_name}_offsets")


@dataclass(frozen=True)
class Shard:
    """One job: the utterances of a few recordings.

    Args:
        path: where its result is kept; the name holds a hash of all that the result depends on.
        recordings: utterances of each recording.
        options: how to decode.
    """

    path: Path
    recordings: tuple[tuple[Utterance, ...], ...]
    options: Decode

    @property
    def ids(self) -> list[str]:
        """Ids of its utterances, sorted."""
        return sorted(u.utt_id for recording in self.recordings for u in recording)


def plan(manifest: Manifest, options: Decode, folder: Path) -> list[Shard]:
    """Divide a corpus: recordings in the order of their first id, together until they are 16 clips or 64 MiB."""
    code = sources_sha256(__name__)  # results of other code are not taken up
    recordings: dict[tuple[str, ...], list[Utterance]] = {}
    for u in manifest.utterances:
        recordings.setdefault((u.video,) if u.video else ("", u.audio or u.utt_id), []).append(u)
    shards: list[Shard] = []
    waiting: list[tuple[Utterance, ...]] = []
    clips = weight = 0
    for utterances in recordings.values():
        waiting.append(tuple(utterances))
        clips += len(utterances)
        weight += sum(Path(file).stat().st_size for file in _files(utterances))
        if clips >= _CLIPS or weight >= _BYTES:
            shards.append(_shard(waiting, options, folder, code))
            waiting, clips, weight = [], 0, 0
    return [*shards, _shard(waiting, options, folder, code)] if waiting else shards


def make(shard: Shard) -> Shard:
    """Decode a shard into its file; the job that worker processes run."""
    clips: list[Clip] = []
    quarantined: list[Quarantined] = []
    for recording in shard.recordings:
        good, bad = decode_recording(recording, shard.options)
        clips += good
        quarantined += bad
    files = sorted({file for recording in shard.recordings for file in _files(recording)})
    clips.sort(key=lambda clip: str(clip.row["utt_id"]))
    attrs = {
        "rows": [clip.row for clip in clips],
        "quarantined": [asdict(row) for row in quarantined],
        "sha256": {file: sha256(Path(file)) for file in files},
    }
    with write_packed(shard.path, _FIELDS, attrs) as writer:
        for clip in clips:
            writer.add(str(clip.row["utt_id"]), pcm=clip.pcm, **_arrays(clip.images))
    return shard


class Results:
    """Reads finished shards; at most a few are open at a time."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Read what every shard says of its clips, not the clips."""
        self._open: dict[Path, tuple[Packed, dict[str, Array]]] = {}
        self._where: dict[str, Path] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.quarantined: list[Quarantined] = []
        self.sha256: dict[str, str] = {}
        for shard in shards:
            with Packed(shard.path, _FIELDS) as packed:
                self._where |= dict.fromkeys(packed.ids, shard.path)
                self.rows |= {row["utt_id"]: row for row in packed.attrs["rows"]}
                self.quarantined += [Quarantined(**row) for row in packed.attrs["quarantined"]]
                self.sha256 |= packed.attrs["sha256"]
        self.ids = sorted(self._where)
        self.quarantined.sort(key=lambda row: row.utt_id)

    def audio(self) -> Iterator[tuple[str, Array]]:
        """PCM `(samples,)` int16 of every clip, ids ascending."""
        for utt_id in self.ids:
            yield utt_id, self._part(utt_id, "pcm", "pcm_offsets")

    def images(self, name: str) -> Iterator[tuple[str, Images]]:
        """The pictures of every clip in image stream `name`, ids ascending."""
        for utt_id in self.ids:
            data = self._part(utt_id, f"{name}_jpegs", f"{name}_jpeg_offsets").tobytes()
            sizes = self._part(utt_id, f"{name}_bytes", f"{name}_offsets")
            ends = np.cumsum(sizes, dtype=np.int64)
            jpegs = [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]
            yield utt_id, Images(jpegs, self._part(utt_id, f"{name}_times", f"{name}_offsets"))

    def close(self) -> None:
        """Close the shards that are open."""
        for packed, _ in self._open.values():
            packed.__exit__()
        self._open = {}

    def _part(self, utt_id: str, name: str, axis: str) -> Array:
        path = self._where[utt_id]
        packed, offsets = self._open.pop(path) if path in self._open else (Packed(path, _FIELDS), {})
        self._open[path] = packed, offsets
        while len(self._open) > _OPEN:
            self._open.pop(next(iter(self._open)))[0].__exit__()
        if axis not in offsets:
            offsets[axis] = packed.offsets(axis)
        start, stop = offsets[axis][packed.position(utt_id) :][:2]
        return packed.part(name, start, stop)


def _arrays(images: dict[str, Images]) -> dict[str, Array]:
    empty = Images([], np.zeros(0, np.float32))
    arrays: dict[str, Array] = {}
    for name in IMAGE_STREAMS:
        strip = images.get(name, empty)
        arrays[f"{name}_jpegs"] = np.frombuffer(b"".join(strip.jpegs), np.uint8)
        arrays[f"{name}_bytes"] = np.asarray([len(jpeg) for jpeg in strip.jpegs], np.int32)
        arrays[f"{name}_times"] = strip.times
    return arrays


def _files(utterances: Iterable[Utterance]) -> list[str]:
    return sorted({file for u in utterances for file in (u.video, u.audio) if file})


def _shard(recordings: list[tuple[Utterance, ...]], options: Decode, folder: Path, code: str) -> Shard:
    stats = {file: Path(file).stat() for recording in recordings for file in _files(recording)}
    parts = {
        "utterances": [[asdict(u) for u in recording] for recording in recordings],
        "files": {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()},
        "options": options.model_dump(mode="json", exclude={"quarantine_budget"}),
        "code": code,
        "versions": [av.__version__, cv2.__version__],
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Shard(folder / f"{key[:32]}.h5", tuple(recordings), options)
