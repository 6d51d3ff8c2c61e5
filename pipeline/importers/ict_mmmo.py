"""ICT-MMMO as word-aligned sequences of 20 steps: audio 74 (COVAREP), vision 36 (Facet), text 300 (GloVe).

Wöllmer et al., "YouTube Movie Reviews: Sentiment Analysis in an Audio-Visual Context", IEEE Intelligent Systems 28(3),
2013; features of Zadeh et al., "Memory Fusion Network for Multi-view Sequential Learning", AAAI 2018
(https://github.com/pliang279/MFN). Research use.

The text of the training videos does not exist in these files: there it is absent, truly missing. Steps in which audio
and vision are all zero at the beginning or the end are padding and are cut; a step that is all zero in between was not
measured and is not present. The label is a rating from 1 to 5, one per video; each video stands for its own speaker.
"""

from pathlib import Path

import h5py
import numpy as np

from pipeline.corpora.protocol import CorpusOptions, Reading
from pipeline.data.packed import Array
from pipeline.errors import DataError
from pipeline.importers.protocol import Imported, Sequences, media_free

VERSION = "1"

_WIDTHS = {"text": 300, "audio": 74, "vision": 36}
_STEPS = 20
_FILES = {"audio": "audio_{}.h5", "vision": "video_{}.h5", "text": "text_{}_emb.h5"}
_PARTS = ("train", "valid", "test")


class Options(CorpusOptions):
    """There is nothing to choose."""


def read(root: Path, options: Options) -> Imported:
    """Read all parts.

    Raises:
        DataError: a file is missing (but the training text) or has another shape.
    """
    features = {m: Sequences(width, {}) for m, width in _WIDTHS.items()}
    utterances, files = [], []
    for part in _PARTS:
        labels = _array(root / f"y_{part}.h5", (None,))
        files.append(root / f"y_{part}.h5")
        arrays = {}
        for m, pattern in _FILES.items():
            path = root / pattern.format(part)
            if m == "text" and part == "train" and not path.exists():
                continue
            arrays[m] = _array(path, (len(labels), _STEPS, _WIDTHS[m]))
            files.append(path)
        for i, label in enumerate(labels):
            utt_id = f"{part}_{i:03d}"
            first, last = _span({m: x[i] for m, x in arrays.items()})
            for m, x in arrays.items():
                features[m].rows[utt_id] = x[i, first:last]
                features[m].present[utt_id] = (x[i, first:last] != 0).any(-1)
            utterances.append(media_free(utt_id, speaker=utt_id, split=part, label_raw=str(float(label))))
    return Imported(Reading(utterances, [], len(utterances)), features, tuple(files))


def _span(arrays: dict[str, Array]) -> tuple[int, int]:
    """First and one past the last step with anything in it."""
    anything = np.any([(x != 0).any(-1) for x in arrays.values()], axis=0)
    steps = np.flatnonzero(anything)
    return (int(steps[0]), int(steps[-1]) + 1) if len(steps) else (0, 0)


def _array(path: Path, shape: tuple[int | None, ...]) -> Array:
    """The data set `d1` as float32."""
    try:
        with h5py.File(path, "r") as file:
            found: Array = np.asarray(file["d1"][:], np.float32)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put the ICT-MMMO files there (docs/corpora.md)") from None
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: not an HDF5 file with a data set 'd1' ({error}); get the file again") from None
    if len(found.shape) != len(shape) or any(w not in {None, n} for w, n in zip(shape, found.shape, strict=True)):
        wanted = " x ".join("n" if w is None else str(w) for w in shape)
        raise DataError(f"{path}: shape {found.shape}, expected {wanted}; get the file again")
    return found
