"""Time of decoding against PyAV alone: `python tests/benchmarks/bench_decode.py FOLDER`.

FOLDER holds media files. Expected on two cores: decoding and packing without face detection take at most 1.3 times as
long as PyAV needs to decode the same files once; the share of face detection is printed beside it. One process, one
thread, the best of three runs of each.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av

from pipeline.data.manifest import Manifest, Utterance
from pipeline.decode import faces
from pipeline.decode.runner import decode_corpus
from pipeline.params import Decode

RUNS = 3


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


def best(run: Callable[[], None]) -> float:
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main(folder: str) -> None:
    """Print the ratios."""
    os.environ["LACUNA_JOBS"] = "1"
    files = sorted(path for path in Path(folder).rglob("*.mp4"))
    base = best(lambda: plain(files))
    print(f"{len(files)} files; PyAV alone {base:.2f} s")
    for label, streams, hz in (
        ("audio and whole-frame crops at 5 Hz", ("audio", "faces"), 30.0),
        ("the same and 256-pixel frames at 5 Hz", ("audio", "faces", "frames"), 5.0),
        ("the same and 256-pixel frames at 30 Hz", ("audio", "faces", "frames"), 30.0),
    ):
        options = Decode(streams=streams, face="whole_frame", frame_hz=hz)
        seconds = best(lambda options=options: ours(files, options))
        print(f"{label}: {seconds:.2f} s, {seconds / base:.2f} x PyAV")
    spent = 0.0
    find = faces.find_face

    def timed(*arguments: object) -> object:
        nonlocal spent
        start = time.perf_counter()
        try:
            return find(*arguments)
        finally:
            spent += time.perf_counter() - start

    faces.find_face = timed
    start = time.perf_counter()
    ours(files, Decode())
    whole = time.perf_counter() - start
    print(
        f"audio and detected faces at 5 Hz: {whole:.2f} s, of which detection {spent:.2f} s = {spent / whole:.0%}; "
        f"without it {whole - spent:.2f} s, {(whole - spent) / base:.2f} x PyAV"
    )


if __name__ == "__main__":
    main(sys.argv[1])
