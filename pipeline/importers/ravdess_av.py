"""RAVDESS as clip vectors: vision 35 (means of OpenFace action units), audio 259 (functionals); no text.

Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE 13(5), e0196391, 2018
(CC BY-NC-SA 4.0); vectors derived from
https://github.com/KangHyunWook/Pytorch-implementation-of-Multimodal-emotion-recognition-on-RAVDESS-dataset.

One npz file with `clip` (file stems, whose seven codes say emotion and actor), `vision_au` and `audio`. Speech only.
"""

from pathlib import Path

import numpy as np

from pipeline.corpora.protocol import CorpusOptions, Reading
from pipeline.corpora.ravdess import EMOTIONS, STATEMENTS, fields_of
from pipeline.errors import DataError
from pipeline.importers.protocol import ABSENT, Imported, Sequences, media_free

VERSION = "1"

_ARRAYS = {"vision": "vision_au", "audio": "audio"}


class Options(CorpusOptions):
    """Which file is read.

    Args:
        file: its name.
    """

    file: str = "actors_01_18.npz"


def read(root: Path, options: Options) -> Imported:
    """Read the file.

    Raises:
        DataError: it is missing or damaged, or a stem is no RAVDESS name.
    """
    path = root / options.file
    try:
        with np.load(path, allow_pickle=False) as file:
            clips = [str(clip) for clip in file["clip"]]
            arrays = {m: np.asarray(file[name], np.float32) for m, name in _ARRAYS.items()}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put it there (docs/corpora.md)") from None
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not an npz with clip, vision_au and audio ({error}); get the file again") from None
    wrong = [f"{m} {x.shape}" for m, x in arrays.items() if x.ndim != 2 or len(x) != len(clips)]
    if wrong:
        raise DataError(f"{path}: {len(clips)} clips, but {wrong[0]}; expected a vector for every clip")
    utterances = []
    for clip in clips:
        fields = fields_of(f"{clip}.mp4", f"{path}: '{clip}'")
        utterances.append(
            media_free(
                clip,
                speaker=f"actor_{fields['actor']}",
                sex="M" if int(fields["actor"]) % 2 else "F",
                label_raw=EMOTIONS[fields["emotion"]],
                extras={"statement": STATEMENTS[fields["statement"]][0], "repetition": fields["repetition"]},
            )
        )
    features = {
        m: Sequences(x.shape[1], {clip: row[None] for clip, row in zip(clips, x, strict=True)})
        for m, x in arrays.items()
    }
    return Imported(Reading(utterances, [], len(clips)), {**features, "text": ABSENT}, (path,))
