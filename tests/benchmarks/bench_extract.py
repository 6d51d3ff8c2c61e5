"""Our decode and extract stages against the straightforward loop, per extractor; prints ratios, asserts nothing.

    python -m tests.benchmarks.bench_extract [EXTRACTOR ...] [--write]

The loops are those of tests/benchmarks/plain_extraction.py: one process, one clip at a time. Each way runs in a fresh
process of its own, so both pay for their imports and for building their networks (random weights, float32). Our time is
that of decoding the one stream that the extractor reads and of extracting, with provenance, checksums, shards and the
finished store; the loop starts from files that are easier to read (wav, cropped faces). `--write` keeps the figures in
docs/extraction_speed.json, which docs/extractors.md shows.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from pipeline import registry
from pipeline.corpora.demo import Options as ReaderOptions
from pipeline.corpora.demo import read
from pipeline.corpora.demo.generate import Options, generate
from pipeline.data.manifest import Manifest
from pipeline.data.streams import AUDIO_RATE, AudioStream, ImageStream
from pipeline.decode.runner import decode_corpus
from pipeline.extraction.runner import extract_features
from pipeline.files import write_json
from pipeline.schema import Decode, FeatureSet
from pipeline.seeding import stream as random_stream
from tests.benchmarks.plain_extraction import LOOPS
from tests.streams import write_openface

TARGET = Path("docs/extraction_speed.json")
CLIPS = 120
FEW = 12
SLOW = {"slowfast", "video_resnet", "resnet101_frames"}
REPEATS = 2
CORPUS = Options(clips=CLIPS, px=256, fps=30, absent_text=0.0, absent_audio=0.0, absent_vision=0.0)


def prepare(folder: Path) -> None:
    """Make the demo corpus with 256-pixel video at 30 Hz, and the files that the loops read."""
    generate(folder / "corpus", CORPUS, seed=1)
    manifest = Manifest(read(folder / "corpus", ReaderOptions()).utterances)
    decode_corpus("bench", manifest, Decode(face="whole_frame"), folder / "decoded", folder / "scratch")
    for name in ("wavs", "videos", "crops"):
        (folder / name).mkdir()
    with AudioStream(folder / "decoded" / "audio.h5") as stream:
        for utt_id in stream.ids:
            wavfile.write(folder / "wavs" / f"{utt_id}.wav", AUDIO_RATE, stream.row(utt_id))
    with ImageStream(folder / "decoded" / "faces.h5") as stream:
        for utt_id in stream.ids:
            (folder / "crops" / utt_id).mkdir()
            for step, jpeg in enumerate(stream.row(utt_id).jpegs):
                (folder / "crops" / utt_id / f"{step:04}.jpg").write_bytes(jpeg)
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((u.utt_id, u.text) for u in manifest.utterances)
    for u in manifest.utterances:
        (folder / "videos" / f"{u.utt_id}.mp4").symlink_to(Path(u.video).resolve())
    words = sorted({word for u in manifest.utterances for word in u.text.lower().split()})
    words += [f"word{number}" for number in range(100_000)]
    draw = random_stream("bench", "glove")
    with (folder / "vectors.txt").open("w", encoding="utf-8") as file:
        for word in dict.fromkeys(words):
            file.write(word + " " + " ".join(f"{x:.5f}" for x in draw.normal(size=300)) + "\n")
    write_openface(folder / "openface", [u.utt_id for u in manifest.utterances])


def few(folder: Path) -> Path:
    """The same folder with the first clips only."""
    small = folder / "few"
    for name in ("videos",):
        (small / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((folder / name).iterdir())[:FEW]:
            if not (small / name / path.name).exists():
                (small / name / path.name).symlink_to(path.resolve())
    return small


def loop(extractor: str, folder: Path) -> None:
    """The straightforward way."""
    np.savez(folder / "loop.npz", **LOOPS[extractor](few(folder) if extractor in SLOW else folder))


def stage(extractor: str, folder: Path) -> None:
    """Our way, with as many workers as there are processors."""
    reads = registry.entry_class(registry.load("extractors", extractor), "extract")
    kind = "faces" if reads.stream == "any" else reads.stream
    utterances = read(folder / "corpus", ReaderOptions()).utterances
    manifest = Manifest(sorted(utterances, key=lambda u: u.utt_id)[: FEW if extractor in SLOW else None])
    streams = () if kind == "text" else (kind,)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        decode_corpus("bench", manifest, Decode(streams=streams, face="whole_frame"), own / "d", own / "scratch")
        decoded = time.perf_counter()
        weights: dict[str, str] = {}
        if checkpoint := reads.checkpoint:
            files = {"glove": folder / "vectors.txt", "openface_csv": folder / "openface"}
            path = files.get(extractor)
            weights = (
                {"weights": str(path), "weights_sha256": checkpoint.sha256(path)} if path else {"weights": "random"}
            )
        modality = {"text": "text", "audio": "audio"}.get(kind, "vision")
        params = FeatureSet(corpus="bench", modality=modality, stream=kind, extractor=extractor, **weights)
        speed = extract_features("bench", params, own / "d" / f"{kind}.h5", own / "store.h5", own / "scratch")
        found = asdict(speed) | {"extraction": time.perf_counter() - decoded, "all_clips": len(manifest)}
        print(json.dumps(found))


def timed(way: str, extractor: str, folder: Path) -> tuple[float, dict]:
    """Seconds on the clock, and what our way says of itself."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_extract", way, extractor, str(folder)]
    started = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    return seconds, json.loads(done.stdout.splitlines()[-1]) if way == "stage" else {}


def measure(extractor: str, folder: Path) -> dict:
    """Both ways in turn; the best run of each counts."""
    slow, fast = float("inf"), (float("inf"), {})
    for _ in range(REPEATS):
        slow = min(slow, timed("loop", extractor, folder)[0])
        fast = min(fast, timed("stage", extractor, folder), key=lambda run: run[0])
    clips = fast[1]["all_clips"]
    return {
        "clips": clips,
        "loop_seconds": round(slow, 2),
        "seconds": round(fast[0], 2),
        "ratio": round(slow / fast[0], 2),
        "extraction_seconds": round(fast[1]["extraction"], 2),
        "clips_per_second": round(clips / fast[1]["extraction"], 1),
        "hours_per_hour": fast[1]["hours"] and round(fast[1]["hours"] * 3600 / fast[1]["extraction"], 1),
        "workers": fast[1]["workers"],
        "device": fast[1]["device"],
        "precision": fast[1]["precision"],
    }


def main(extractors: list[str], *, write: bool) -> None:
    """Generate once, measure all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found = json.loads(TARGET.read_text()) if TARGET.is_file() else {}
        processors = len(os.sched_getaffinity(0))
        machine = f"{processors} processors ({platform.machine()}), {datetime.now(UTC):%Y-%m-%d}"
        print(f"{CLIPS} clips ({FEW} for {', '.join(sorted(SLOW))}), {machine}, load {os.getloadavg()[0]:.1f} before")
        for extractor in extractors or LOOPS:
            figures = measure(extractor, folder)
            found[extractor] = figures | {"machine": machine}
            print(
                f"{extractor:16} loop {figures['loop_seconds']:7.2f} s, ours {figures['seconds']:7.2f} s (extraction "
                f"{figures['extraction_seconds']:6.2f}): {figures['ratio']:5.2f}x; "
                f"{figures['clips_per_second']} clips/s, {figures['hours_per_hour']} hours of media per hour",
                flush=True,
            )
        if write:
            write_json(TARGET, found)


if __name__ == "__main__":
    if sys.argv[1:2] in (["loop"], ["stage"]):
        {"loop": loop, "stage": stage}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
    else:
        names = [argument for argument in sys.argv[1:] if argument != "--write"]
        main(names, write="--write" in sys.argv)
