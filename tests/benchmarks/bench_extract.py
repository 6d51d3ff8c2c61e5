"""Our decode and extract stages against the straightforward loop, per extractor; prints ratios, asserts nothing.

    python -m tests.benchmarks.bench_extract [EXTRACTOR | EXTRACTOR:bfloat16 ...] [--write]

The loops are those of tests/benchmarks/plain_extraction.py: one process, one clip at a time. Each way runs in a fresh
process of its own, timed from the import of its library to the saved result, so both pay for building their networks
(random weights, float32). Ours is the time of decoding the one stream that the extractor reads and of extracting, with
provenance, checksums, shards and the finished store, with a worker per processor. Both start from the same wav and mp4
files; the loop over faces has cropped pictures. `--write` keeps the figures in docs/extraction_speed.json, which
docs/extractors.md shows.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
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
from pipeline.execution.threads import THREAD_LIMITS
from pipeline.extraction.runner import extract_features
from pipeline.files import write_json
from pipeline.schema import Decode, FeatureSet
from pipeline.seeding import stream as random_stream
from tests.benchmarks.plain_extraction import LOOPS
from tests.streams import write_openface

TARGET = Path("docs/extraction_speed.json")
CLIPS = 120
FEW = {"slowfast": 32, "video_resnet": 32, "resnet101_frames": 64, "resnet_face": 64}
"""Of the clips only so many, where a clip takes long; no fewer than fill a shard of every worker."""
HALF = "bfloat16"
"""`slowfast:bfloat16` asks for this precision; the loop stays as it is."""
COPIES = dict.fromkeys(("egemaps", "compare2016", "bert", "mpnet", "minilm"), 4)
COPIES |= dict.fromkeys(("mfcc", "waveform", "hog_face", "glove"), 8)
"""How often the clips are repeated where they are done fast, so that starting does not count for too much."""
REPEATS = 2
CORPUS = Options(clips=CLIPS, px=256, fps=30, absent_text=0.0, absent_audio=0.0, absent_vision=0.0)


def prepare(folder: Path) -> None:
    """Make the demo corpus with 256-pixel video at 30 Hz, and the files that the loops read."""
    generate(folder / "corpus", CORPUS, seed=1)
    manifest = Manifest(read(folder / "corpus", ReaderOptions()).kept)
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


def few(folder: Path, clips: int) -> Path:
    """The same folder with the first clips only."""
    small = folder / f"few{clips}"
    for name in ("videos", "crops"):
        (small / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((folder / name).iterdir())[:clips]:
            if not (small / name / path.name).exists():
                (small / name / path.name).symlink_to(path.resolve())
    return small


def loop(extractor: str, folder: Path) -> dict:
    """The straightforward way."""
    started = time.perf_counter()
    name = extractor.partition(":")[0]
    np.savez(folder / "loop.npz", **LOOPS[name](few(folder, FEW[name]) if name in FEW else folder))
    return {"seconds": time.perf_counter() - started}


def stage(extractor: str, folder: Path) -> dict:
    """Our way, with as many workers as there are processors."""
    started = time.perf_counter()
    extractor, _, precision = extractor.partition(":")
    options = {extractor: {"precision": precision}} if precision else {}
    reads = registry.entry_class(registry.load("extractors", extractor), "extract")
    kind = "faces" if reads.stream == "any" else reads.stream
    utterances = sorted(read(folder / "corpus", ReaderOptions()).kept, key=lambda u: u.utt_id)
    if kind == "audio":
        utterances = [replace(u, video="", audio=str(folder / "wavs" / f"{u.utt_id}.wav")) for u in utterances]
    chosen = utterances[: FEW.get(extractor)]
    if extractor in COPIES:
        chosen = [replace(u, utt_id=f"{u.utt_id}_{copy}") for u in chosen for copy in range(COPIES[extractor])]
    streams = () if kind == "text" else (kind,)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        decode = Decode(streams=streams, face="whole_frame")
        decode_corpus("bench", Manifest(chosen), decode, own / "d", own / "scratch")
        weights: dict[str, str] = {}
        if checkpoint := reads.checkpoint:
            files = {"glove": folder / "vectors.txt", "openface_csv": folder / "openface"}
            path = files.get(extractor)
            named = {"weights": str(path), "weights_sha256": checkpoint.sha256(path)} if path else {}
            weights = named or {"weights": "random"}
        modality = {"text": "text", "audio": "audio"}.get(kind, "vision")
        params = FeatureSet(
            corpus="bench", modality=modality, stream=kind, extractor=extractor, options=options, **weights
        )
        speed = extract_features("bench", params, own / "d" / f"{kind}.h5", own / "store.h5", own / "scratch")
        seconds = time.perf_counter() - started
    with AudioStream(folder / "decoded" / "audio.h5") as sound:  # a text has no duration, its clip has
        hours = speed.hours or len(chosen) * sound.offsets()[-1] / len(sound) / AUDIO_RATE / 3600
    return {"seconds": seconds, "speed": asdict(speed) | {"hours": float(hours)}}


def timed(way: str, extractor: str, folder: Path) -> dict:
    """What one run in a process of its own says of itself."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_extract", way, extractor, str(folder)]
    # The corpus was made by workers of one thread each; the loop may use all processors, as it would by itself.
    inherited = {name: value for name, value in os.environ.items() if name not in THREAD_LIMITS}
    environment = {**inherited, "HF_HUB_OFFLINE": "1", "BENCH_COPIES": str(COPIES.get(extractor, 1))}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def measure(extractor: str, folder: Path) -> dict:
    """Both ways in turn; the best run of each counts."""
    pairs = [(timed("loop", extractor, folder), timed("stage", extractor, folder)) for _ in range(REPEATS)]
    slow, fast = (min(runs, key=lambda run: run["seconds"]) for runs in zip(*pairs, strict=True))
    speed = fast["speed"]
    return {
        "clips": speed["clips"],
        "loop_seconds": round(slow["seconds"], 2),
        "seconds": round(fast["seconds"], 2),
        "ratio": round(slow["seconds"] / fast["seconds"], 2),
        "extraction_seconds": round(speed["seconds"], 2),
        "extraction_ratio": round(slow["seconds"] / speed["seconds"], 2),
        "clips_per_second": round(speed["clips"] / speed["seconds"], 1),
        "hours_per_hour": round(speed["hours"] * 3600 / speed["seconds"], 1),
        "workers": speed["workers"],
        "device": speed["device"],
        "precision": speed["precision"],
    }


def main(extractors: list[str], *, write: bool) -> None:
    """Generate once, measure all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found = json.loads(TARGET.read_text()) if TARGET.is_file() else {}
        processors = len(os.sched_getaffinity(0))
        machine = f"{processors} processors ({platform.machine()}), {datetime.now(UTC):%Y-%m-%d}"
        print(f"{CLIPS} clips (less or more of some: see the table), {machine}, load {os.getloadavg()[0]:.1f} before")
        for extractor in extractors or [*LOOPS, f"slowfast:{HALF}"]:
            figures = measure(extractor, folder)
            found[extractor] = figures | {"machine": machine}
            print(
                f"{extractor:16} loop {figures['loop_seconds']:7.2f} s, ours {figures['seconds']:7.2f} s (extraction "
                f"{figures['extraction_seconds']:6.2f}): {figures['ratio']:.2f}x ({figures['extraction_ratio']:.2f}x), "
                f"{figures['clips_per_second']} clips/s, {figures['hours_per_hour']} hours of media per hour",
                flush=True,
            )
            if write:
                write_json(TARGET, found)


if __name__ == "__main__":
    if sys.argv[1:2] in (["loop"], ["stage"]):
        print(json.dumps({"loop": loop, "stage": stage}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
    else:
        names = [argument for argument in sys.argv[1:] if argument != "--write"]
        main(names, write="--write" in sys.argv)
