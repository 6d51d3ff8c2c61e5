"""A synthetic corpus of drawn faces, a voice of our own and transcripts, whose cues are planted and known.

It has real mp4 files and the best reachable accuracy per modality set; it is no benchmark. This module reads it as
`generate` writes it: metadata.csv and clips/{session}/{utt_id}.mp4.
"""

from collections import Counter
from pathlib import Path

from pipeline.corpora.protocol import CorpusOptions, Reading
from pipeline.data.manifest import Utterance
from pipeline.errors import DataError
from pipeline.files import read_csv

_PLANTED = (
    "planted_mode",
    *(f"symbol_{modality}" for modality in ("text", "audio", "vision")),
    *(f"planted_{name}" for name in ("t", "a", "v", "ta", "tv", "av", "tav")),
)
_STRENGTHS = tuple(f"strength_{modality}" for modality in ("text", "audio", "vision"))
_NAMES = ("utt_id", "session", "dialogue", "turn", "speaker", "sex", "label", "seconds", "text")
COLUMNS = (*_NAMES, *_PLANTED, *_STRENGTHS)
"""Of metadata.csv. `symbol_*` is what a modality shows ("absent": nothing), `planted_{set}` the class that the
Bayes-optimal reader of the symbols of that modality set says, `strength_*` how strongly a symbol is rendered."""

_CLUTTER = {".DS_Store", "Thumbs.db"}


class Options(CorpusOptions):
    """The reader of the demo corpus has no options."""


def read(root: Path, options: Options) -> Reading:
    """Read the corpus; every clip is kept.

    Raises:
        DataError: metadata.csv lacks columns or does not fit the files in clips/.
    """
    metadata = root / "metadata.csv"
    rows = read_csv(metadata)
    lacking = [column for column in COLUMNS if rows and column not in rows[0]]
    if lacking:
        raise DataError(f"{metadata}: no column {', '.join(lacking)}; generate the corpus again")
    listed = [root / "clips" / row["session"] / f"{row['utt_id']}.mp4" for row in rows]
    _check_files(root, listed)
    kept = [_utterance(row, path, metadata, line) for line, (row, path) in enumerate(zip(rows, listed, strict=True), 2)]
    return Reading(kept, [], len(listed))


def _utterance(row: dict[str, str], path: Path, metadata: Path, line: int) -> Utterance:
    if not row["turn"].isdigit():
        raise DataError(f"{metadata}: line {line}: turn '{row['turn']}', expected a number; generate the corpus again")
    return Utterance(
        utt_id=row["utt_id"],
        dialogue=row["dialogue"],
        turn=int(row["turn"]),
        speaker=row["speaker"],
        sex=row["sex"],
        session=row["session"],
        split="",
        video=path.as_posix(),
        audio=path.as_posix(),
        start=0.0,
        end=float(row["seconds"]),
        text=row["text"],
        label_raw=row["label"],
        extras={"synthetic": "yes", **{column: row[column] for column in _PLANTED}},
    )


def _check_files(root: Path, listed: list[Path]) -> None:
    """Compare the clips that metadata.csv lists with those on disk."""
    twice = [path for path, count in Counter(listed).items() if count > 1]
    if twice:
        raise DataError(f"{root / 'metadata.csv'}: '{twice[0].stem}' is listed twice; generate the corpus again")
    on_disk = {
        path
        for path in (root / "clips").rglob("*")
        if path.is_file() and not path.name.startswith("._") and path.name not in _CLUTTER
    }
    missing, stray = sorted(set(listed) - on_disk), sorted(on_disk - set(listed))
    if missing:
        raise DataError(
            f"{missing[0]}: no such file, but metadata.csv lists it ({len(missing)} missing); generate the corpus again"
        )
    if stray:
        raise DataError(
            f"{stray[0]}: not listed in metadata.csv ({len(stray)} such files); move it away or generate the corpus "
            "again"
        )
