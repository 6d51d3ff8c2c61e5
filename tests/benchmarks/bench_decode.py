"""Time of decoding against PyAV alone; prints ratios, asserts nothing.

    python -m tests.benchmarks.bench_decode [FOLDER]

FOLDER holds mp4 files; without it, clips of 512 pixels at 25 Hz are generated. Expected: decoding and packing without
face detection take at most 1.3 times as long as PyAV needs to decode the same files once; the share of face detection
is printed beside it. One process of one thread.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from pipeline.corpora.demo.generate import Options, generate
from pipeline.data.manifest import Manifest, Utterance
from pipeline.decode import faces
from pipeline.decode.runner import decode_corpus
from pipeline.schema import Decode

ROUNDS = 3


def plain(files: list[Path]) -> None:
    """Decode everything once and keep nothing."""
    for file in files:
        with av.open(str(file)) as container:
            streams = [*container.streams.video[:1], *container.streams.audio[:1]]
            for stream in streams:
                stream.codec_context.thread_count = 1
            for packet in container.demux(streams):
                packet.decode()


def ours(files: list[Path], options: Decode) -> None:
    """Decode and pack."""
    names = {file.stem: str(file) for file in files}
    manifest = Manifest(
        [Utterance(name, "", 0, "", "", "", "", file, file, 0.0, None, "text", "") for name, file in names.items()]
    )
    with tempfile.TemporaryDirectory() as folder:
        decode_corpus("bench", manifest, options, Path(folder) / "out", Path(folder) / "scratch")


def best(runs: dict[str, Callable[[], None]]) -> dict[str, tuple[float, float]]:
    """Seconds on the clock and of the processor of the fastest run of each, taken in turns."""
    seconds = {name: (float("inf"), float("inf")) for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            taken = (time.perf_counter() - clock, time.process_time() - processor)
            seconds[name] = min(seconds[name][0], taken[0]), min(seconds[name][1], taken[1])
    return seconds


def detection(files: list[Path]) -> str:
    """The share of face detection in decoding with detected faces."""
    spent = 0.0
    find = faces.find_face

    def timed(*arguments: Any) -> Any:
        nonlocal spent
        start = time.process_time()
        box = find(*arguments)
        spent += time.process_time() - start
        return box

    faces.find_face = timed
    start = time.process_time()
    ours(files, Decode())
    whole = time.process_time() - start
    return f"audio and detected faces at 5 Hz: {whole:.2f} s of the processor, {spent / whole:.0%} of it detection"


def main(folder: str) -> None:
    """Print the ratios."""
    os.environ["LACUNA_JOBS"] = "1"
    files = sorted(path for path in Path(folder).rglob("*.mp4"))
    base = "PyAV alone"
    sound = Decode(streams=("audio", "faces"), face="whole_frame")
    few = Decode(streams=("audio", "faces", "frames"), face="whole_frame", frame_hz=5.0)
    runs: dict[str, Callable[[], None]] = {
        base: lambda: plain(files),
        "audio, whole-frame crops at 5 Hz": lambda: ours(files, sound),
        "the same and 256-pixel frames at 5 Hz": lambda: ours(files, few),
        "the same and 256-pixel frames at 30 Hz": lambda: ours(files, few.model_copy(update={"frame_hz": 30.0})),
    }
    seconds = best(runs)
    print(f"{len(files)} files; seconds on the clock, of the processor, and their ratios to PyAV alone")
    for name, (clock, processor) in seconds.items():
        ratios = clock / seconds[base][0], processor / seconds[base][1]
        print(f"{name:40} {clock:7.2f} {processor:7.2f} {ratios[0]:7.2f} {ratios[1]:7.2f}")
    print(detection(files))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as made:
            generate(Path(made) / "clips", Options(clips=16, px=512, fps=25), seed=1)
            main(made)
