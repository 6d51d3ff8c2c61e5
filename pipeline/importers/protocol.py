"""What an importer is: a module with `Options`, `VERSION` and `read`.

    VERSION = "1"
    class Options(CorpusOptions): ...
    def read(root: Path, options: Options) -> Imported: ...

It reads files that others made, under data/raw/NAME, and gives utterances with their features. Pickles are opened by
`pipeline.data.unpickling` alone.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.corpora.protocol import Reading
from pipeline.data.manifest import Utterance
from pipeline.data.packed import Array
from pipeline.data.store import Row
from pipeline.files import sha256


@dataclass(frozen=True)
class Sequences:
    """One modality of a feature corpus.

    Args:
        dim: features of one step.
        rows: by utterance `(T, dim)`; an utterance that is not there has the modality absent.
        present: by utterance `(T,)` bool where single steps are missing; others are there throughout.
        hop: seconds between steps, or None where steps are words or whole utterances.
    """

    dim: int
    rows: dict[str, Array]
    present: dict[str, Array] = field(default_factory=dict)
    hop: float | None = None

    def row(self, utt_id: str) -> Row:
        """One utterance of a store; zero steps where it is absent."""
        nothing = np.zeros((0, self.dim), np.float32)
        return Row(utt_id, self.rows.get(utt_id, nothing), self.present.get(utt_id))


ABSENT = Sequences(dim=1, rows={})
"""A modality that nobody has."""


@dataclass(frozen=True)
class Imported:
    """What an importer found.

    Args:
        reading: utterances kept and dropped; utterances have no media files.
        features: per modality.
        files: every file that was read; their content is the provenance of the stores.
    """

    reading: Reading
    features: dict[str, Sequences]
    files: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """Hash of the names and the bytes of all files."""
        listing = "".join(f"{path.name} {sha256(path)}\n" for path in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()


def media_free(utt_id: str, **facts: object) -> Utterance:
    """An utterance of a feature corpus: no media, and nothing known but `facts`."""
    unknown: dict[str, object] = {
        "dialogue": "", "turn": 0, "speaker": "", "sex": "", "session": "", "split": "", "video": "", "audio": "",
        "start": 0.0, "end": None, "text": "", "label_raw": "", "extras": {},
    }  # fmt: skip
    return Utterance(utt_id=utt_id, **(unknown | facts))  # type: ignore[arg-type]
