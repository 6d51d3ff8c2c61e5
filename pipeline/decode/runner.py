"""Decode a whole corpus: shards in parallel, then the streams, the tables and the quarantine in one folder."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.data.manifest import Manifest
from pipeline.data.streams import AUDIO_RATE, write_audio, write_images, write_text
from pipeline.decode.clips import CLIP_COLUMNS
from pipeline.decode.frames import JPEG_QUALITY
from pipeline.decode.shards import Results, Shard, make, plan
from pipeline.errors import DataError
from pipeline.execution.jobs import run_jobs
from pipeline.execution.lock import exclusive
from pipeline.files import atomic, write_csv
from pipeline.progress import track
from pipeline.schema import Decode


@dataclass(frozen=True)
class Summary:
    """What was decoded.

    Args:
        clips: utterances with a row in every stream.
        hours: of these.
        absent: per modality, how many of them lack it.
        quarantined: utterances that could not be decoded.
    """

    clips: int
    hours: float
    absent: dict[str, int]
    quarantined: int


def decode_corpus(corpus: str, manifest: Manifest, options: Decode, target: Path, scratch: Path) -> Summary:
    """Write the folder `target`: text.h5, the streams of `options`, clips.csv and quarantine.csv.

    Finished shards wait in `scratch`; a run that was killed goes on from there and ends in the same bytes.

    Raises:
        DataError: media files are missing, more clips are damaged than the budget allows (all are named), or another
            run is at work. `target` is then as it was.
    """
    manifest.check_files()
    with exclusive(scratch):
        kept = scratch / "shards"
        shards = plan(manifest, options, kept)
        _decode(corpus, shards, len(manifest))
        results = Results(shards)
        _check_budget(corpus, results, len(manifest), options)
        try:
            _write(target, manifest, options, results)
        finally:
            results.close()
        shutil.rmtree(kept)
    rows = results.rows.values()
    return Summary(
        clips=len(rows),
        hours=sum(row["duration"] for row in rows) / 3600,
        absent={m: sum(row[f"absent_{m}"] for row in rows) for m in ("text", "audio", "vision")},
        quarantined=len(results.quarantined),
    )


def _decode(corpus: str, shards: list[Shard], clips: int) -> None:
    done = [shard for shard in shards if shard.path.exists()]
    missing = [shard for shard in shards if not shard.path.exists()]

    def finished() -> Iterator[str]:
        for shard in done:
            yield from shard.ids
        for shard in run_jobs(make, missing):
            yield from shard.ids

    for _ in track(finished(), f"decode {corpus}", "clips", clips):
        pass


def _check_budget(corpus: str, results: Results, clips: int, options: Decode) -> None:
    bad = results.quarantined
    if len(bad) > options.quarantine_budget * clips + 1e-9:
        listed = "\n".join(f"  {row.utt_id}: {row.file}: {row.reason}" for row in bad)
        raise DataError(
            f"{corpus}: {len(bad)} of {clips} clips cannot be decoded, more than the share "
            f"{options.quarantine_budget:g} that is allowed; mend or replace these files, or raise "
            f"corpora.{corpus}.decode.quarantine_budget:\n{listed}"
        )


def _write(target: Path, manifest: Manifest, options: Decode, results: Results) -> None:
    excluded = [row.utt_id for row in results.quarantined]
    attrs = _attributes(manifest, options, results)
    texts = ((u.utt_id, u.text if u.text.strip() else "") for u in manifest.utterances if u.utt_id in results.rows)
    with atomic(target) as folder:
        folder.mkdir()
        write_text(folder / "text.h5", texts, attrs["text"], excluded)
        for name in sorted(set(options.streams)):
            if name == "audio":
                write_audio(folder / "audio.h5", results.audio(), attrs[name], excluded)
            else:
                write_images(folder / f"{name}.h5", results.images(name), attrs[name], excluded)
        write_csv(folder / "clips.csv", CLIP_COLUMNS, (results.rows[utt_id] for utt_id in results.ids))
        write_csv(folder / "quarantine.csv", ["utt_id", "file", "reason"], map(asdict, results.quarantined))


def _attributes(manifest: Manifest, options: Decode, results: Results) -> dict[str, dict[str, Any]]:
    """Per stream its options and a hash of what it was made of: spans and media for pictures and sound, else text.

    Files enter by content, not by name, and no stream depends on the options of another.
    """
    jpeg = {"format": "JPEG", "quality": JPEG_QUALITY}
    face = {"rate": options.face_hz, "pixels": options.face_px, "face": options.face, **jpeg}
    attrs: dict[str, dict[str, Any]] = {
        "text": {"format": "UTF-8"},
        "audio": {"format": "16-bit PCM, mono", "rate": AUDIO_RATE},
        "faces": face,
        "frames": {"rate": options.frame_hz, "short_side": options.frame_px, **jpeg},
    }
    sources: dict[str, list[Any]] = {
        "text": [[u.utt_id, u.text] for u in manifest.utterances],
        "audio": [[u.utt_id, u.start, u.end, results.sha256.get(u.audio)] for u in manifest.utterances],
    }
    sources["faces"] = sources["frames"] = [
        [u.utt_id, u.start, u.end, results.sha256.get(u.video)] for u in manifest.utterances
    ]
    for name, own in attrs.items():
        source = json.dumps([own, sources[name]], sort_keys=True)
        own["source_sha256"] = hashlib.sha256(source.encode()).hexdigest()
    return attrs
