"""The manifest: one row per utterance of a corpus, and one row with a reason per clip that was left out."""

import math
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from pipeline.errors import DataError
from pipeline.files import read_csv, write_csv


@dataclass(frozen=True)
class Utterance:
    """One utterance as its corpus has it.

    Args:
        utt_id: unique in the corpus, always text.
        dialogue: id of the conversation, or "" where there is none.
        turn: place in the dialogue, from 0.
        speaker: id of the person who speaks.
        sex: F, M or "" where unknown.
        session: recording session, or "".
        split: the owner's part (train, valid, test), or "".
        video: path of the file with the picture, or "".
        audio: path of the file with the sound, or "".
        start: seconds into the file.
        end: seconds into the file, or None for the whole file.
        text: transcript; empty = absent.
        label_raw: the owner's label.
        extras: further columns (raters, planted symbols), kept as text.
    """

    utt_id: str
    dialogue: str
    turn: int
    speaker: str
    sex: str
    session: str
    split: str
    video: str
    audio: str
    start: float
    end: float | None
    text: str
    label_raw: str
    extras: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """Every column that has text, the extras included."""
        texts = {name: getattr(self, name) for name in _COLUMNS}
        return {name: value for name, value in texts.items() if isinstance(value, str)} | self.extras


@dataclass(frozen=True)
class Dropped:
    """A clip of the corpus that is not an utterance of the manifest, and why."""

    clip: str
    reason: str


_COLUMNS = [f.name for f in fields(Utterance) if f.name != "extras"]


class Manifest:
    """Validated utterances, sorted by id (bytewise).

    Raises:
        DataError: a repeated id, a bad time span or extra columns that differ between rows.
    """

    def __init__(self, utterances: list[Utterance], where: str = "manifest") -> None:
        """Check and sort."""
        self.utterances = sorted(utterances, key=lambda u: u.utt_id)
        self.where = where
        self._check()

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.utterances)

    @property
    def ids(self) -> list[str]:
        """All ids, sorted."""
        return [u.utt_id for u in self.utterances]

    def check_files(self) -> None:
        """Check that every media file exists.

        Raises:
            DataError: names the first missing files.
        """
        paths = sorted({path for u in self.utterances for path in (u.video, u.audio) if path})
        missing = [path for path in paths if not Path(path).is_file()]
        if missing:
            raise DataError(
                f"{self.where}: {len(missing)} of {len(paths)} media files do not exist, "
                f"first {', '.join(missing[:3])}; put them back or run ingest again"
            )

    def write(self, path: Path) -> None:
        """Write manifest.csv."""
        extras = list(self.utterances[0].extras) if self.utterances else []
        rows = ({**{c: getattr(u, c) for c in _COLUMNS}, **u.extras} for u in self.utterances)
        write_csv(path, [*_COLUMNS, *extras], rows)

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read manifest.csv.

        Raises:
            DataError: missing columns or values that cannot be read; names the file and the line.
        """
        utterances = []
        for number, row in enumerate(read_csv(path), start=2):
            try:
                utterances.append(
                    Utterance(
                        **{c: row[c] for c in _COLUMNS if c not in {"turn", "start", "end"}},
                        turn=int(row["turn"]),
                        start=float(row["start"]),
                        end=float(row["end"]) if row["end"] else None,
                        extras={name: value for name, value in row.items() if name not in _COLUMNS},
                    )
                )
            except (KeyError, ValueError) as error:
                raise DataError(f"{path}: line {number}: {error}; run ingest again") from None
        return cls(utterances, str(path))

    def _check(self) -> None:
        if not self.utterances:
            raise DataError(f"{self.where}: no utterance is left, expected at least one; see the dropped table for why")
        repeated = [utt_id for utt_id, count in Counter(self.ids).items() if count > 1]
        if repeated:
            raise DataError(f"{self.where}: {len(repeated)} ids occur more than once, first '{repeated[0]}'")
        columns = list(self.utterances[0].extras)
        for u in self.utterances:
            if not u.utt_id:
                raise DataError(f"{self.where}: an utterance of speaker '{u.speaker}' has an empty id")
            if not (math.isfinite(u.start) and u.start >= 0 and (u.end is None or u.start < u.end < math.inf)):
                raise DataError(f"{self.where}: {u.utt_id}: start {u.start}, end {u.end}, expected 0 <= start < end")
            if u.sex not in {"F", "M", ""}:
                raise DataError(f"{self.where}: {u.utt_id}: sex '{u.sex}', expected F, M or nothing")
            if list(u.extras) != columns:
                raise DataError(f"{self.where}: {u.utt_id}: extra columns {list(u.extras)}, expected {columns}")


def write_dropped(path: Path, dropped: list[Dropped]) -> None:
    """Write the table of clips that were left out."""
    write_csv(path, ["clip", "reason"], (vars(row) for row in sorted(dropped, key=lambda d: (d.clip, d.reason))))
