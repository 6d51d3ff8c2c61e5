"""CMU-MOSI as utterance vectors of the bc-LSTM lineage: text 100, audio 73, vision 100.

Zadeh et al., "Multimodal Sentiment Intensity Analysis in Videos: Facial Gestures and Verbal Messages", IEEE Intelligent
Systems 31(6), 2016; vectors by Poria et al., "Context-Dependent Sentiment Analysis in User-Generated Videos", ACL 2017
(https://github.com/declare-lab/multimodal-deep-learning), scores and sentences from
https://github.com/zeroQiaoba/GCNet. Research use.

Two divisions: column `split` has the standard one by video (52 train, 10 valid, 31 test), `split_files` that of the csv
files (62 train, 31 test). Labels: `score` (-3 to 3), `binary` (score >= 0 is positive), `seven` (the score clipped and
rounded, halves to the even integer, as numpy rounds).
"""

import csv
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.corpora.protocol import CorpusOptions, Reading
from pipeline.data.packed import Array
from pipeline.data.unpickling import read_pickle
from pipeline.errors import DataError
from pipeline.files import read_json
from pipeline.importers.protocol import ABSENT, Imported, Sequences, media_free

VERSION = "1"

_PICKLE = "CMUMOSI_features_raw_2way.pkl"
_WIDTHS = {"text": 100, "audio": 73, "vision": 100}
_NAMES = {"text": "text", "audio": "audio", "vision": "video"}
_PARTS = ("train", "test")


class Options(CorpusOptions):
    """What is read.

    Args:
        modalities: those that are taken; the others are absent throughout.
    """

    modalities: tuple[Literal["text", "audio", "vision"], ...] = ("text", "audio", "vision")


def read(root: Path, options: Options) -> Imported:
    """Read the csv files, the pickle and the folds.

    Raises:
        DataError: a file is missing, or what the files say of an utterance does not fit.
    """
    transcripts = root / "transcripts.csv"
    sentences = _table(transcripts, 4)
    scores = _scores(root / _PICKLE)
    standard = _standard_parts(root / "sdk_standard_folds.json")
    vectors: dict[str, dict[str, Array]] = {m: {} for m in _WIDTHS}
    utterances = []
    files = [transcripts, root / _PICKLE, root / "sdk_standard_folds.json"]
    for part in _PARTS:
        order = root / f"text_{part}.csv"
        tables = {m: root / f"{name}_{part}0.csv" for m, name in _NAMES.items()}
        files += [order, *tables.values()]
        places = [int(row[0]) for row in _table(order, 1 + _WIDTHS["text"])]
        rows = {m: _table(path, _WIDTHS[m] + 1) for m, path in tables.items()}
        if wrong := [path for m, path in tables.items() if len(rows[m]) != len(places)]:
            raise DataError(f"{wrong[0]}: expected {len(places)} rows, as many as {order} has; get the file again")
        for i, place in enumerate(places):
            utt_id, sentence = sentences[place][:2]
            video, _, segment = utt_id.rpartition("_")
            positive = {float(rows[m][i][-1]) == 1.0 for m in _WIDTHS}
            if utt_id not in scores or positive != {scores[utt_id] >= 0}:
                raise DataError(
                    f"{order}: row {i + 1} is utterance '{utt_id}' with the csv labels {sorted(positive)} and score "
                    f"{scores.get(utt_id)} in {_PICKLE}, expected score >= 0 where the label is 1; get the files again"
                )
            for m in _WIDTHS:
                vectors[m][utt_id] = np.asarray(rows[m][i][:-1], np.float32)[None]
            utterances.append(
                media_free(
                    utt_id,
                    dialogue=video,
                    turn=int(segment),
                    speaker=video,
                    split=standard[video],
                    text=sentence.lower(),
                    label_raw=str(scores[utt_id]),
                    extras=_labels(scores[utt_id]) | {"split_files": part},
                )
            )
    features = {m: Sequences(n, vectors[m]) if m in options.modalities else ABSENT for m, n in _WIDTHS.items()}
    return Imported(Reading(utterances, [], len(sentences)), features, tuple(files))


def _labels(score: float) -> dict[str, str]:
    return {
        "score": str(score),
        "binary": "positive" if score >= 0 else "negative",
        "seven": str(int(np.rint(np.clip(score, -3, 3)))),
    }


def _table(path: Path, width: int) -> list[list[str]]:
    """The rows of a csv without header, all of them `width` wide."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put the MOSI files there (docs/corpora.md)") from None
    wrong = [number for number, row in enumerate(rows, start=1) if len(row) != width]
    if wrong or not rows:
        found = f"line {wrong[0]} has {len(rows[wrong[0] - 1])} values" if wrong else "no line"
        raise DataError(f"{path}: {found}, expected {width} in every line; get the file again")
    return rows


def _scores(path: Path) -> dict[str, float]:
    """Score of every utterance: the pickle's first two mappings, video -> ids and video -> scores."""
    found = read_pickle(path)
    try:
        ids, values = found[0], found[1]
        return {u: float(v) for video in ids for u, v in zip(ids[video], values[video], strict=True)}
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise DataError(
            f"{path}: {error!r}, expected a list that begins with ids and scores by video; get the file again"
        ) from None


def _standard_parts(path: Path) -> dict[str, str]:
    folds = read_json(path)["CMU_MOSI"]
    return {video: part for part in ("train", "valid", "test") for video in folds[f"standard_{part}_fold"]}
