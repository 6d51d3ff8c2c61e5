"""RAVDESS as its owner ships it: the name of a file is its label.

Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE 13(5), e0196391, 2018,
https://zenodo.org/records/1188976 (CC BY-NC-SA 4.0). Files may lie flat or in folders Actor_01 .. Actor_24; speech and
song archives use the same folder names, so the fields of the name decide.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pipeline.corpora.protocol import CorpusOptions, Reading
from pipeline.data.manifest import Dropped, Utterance
from pipeline.errors import DataError

_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])"
    r"-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])\.(?P<suffix>mp4|wav)"
)
EMOTIONS = dict(
    zip(
        (f"0{code}" for code in range(1, 9)),
        ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        strict=True,
    )
)
STATEMENTS = {"01": ("kids", "Kids are talking by the door"), "02": ("dogs", "Dogs are sitting by the door")}
_INTENSITIES = {"01": "normal", "02": "strong"}
_MODALITIES = {"01": "audio and video", "02": "video only", "03": "audio only"}
_CHANNELS = {"01": "speech", "02": "song"}
_EXPECTED = {"01": 1440, "02": 1012}
"""Clips of one modality code: 24 actors x (4 neutral + 7 x 8) of speech, 23 x 44 of song (actor 18 has none)."""

_CLUTTER = {".DS_Store", "Thumbs.db"}


class Options(CorpusOptions):
    """Which of the release is read.

    Args:
        include_song: take songs too (emotions 01 to 06).
        modality_codes: 01 audio and video, 02 video only, 03 audio only. The three are variants of the same takes, so
            more than one of them in a random split puts copies of test clips into training.
        allow_partial: accept a part of the release: counts are not asserted.
        label: what is recognised; `statement` makes the text the answer.
    """

    include_song: bool = False
    modality_codes: tuple[Literal["01", "02", "03"], ...] = ("01",)
    allow_partial: bool = False
    label: Literal["emotion", "statement"] = "emotion"

    @field_validator("modality_codes")
    @classmethod
    def _some(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if not codes or len(set(codes)) < len(codes):
            raise ValueError(f"found {list(codes)}, expected at least one of 01, 02, 03, none of them twice")
        return codes


def read(root: Path, options: Options) -> Reading:
    """Read the names of all files under `root`.

    Raises:
        DataError: a file outside the grammar, the same clip twice, or counts that are not those of the release.
    """
    kept: list[Utterance] = []
    dropped: list[Dropped] = []
    seen: dict[str, Path] = {}
    for path in _files(root):
        fields = fields_of(path.name, str(path))
        if path.name in seen:
            raise DataError(f"{path}: the same clip as {seen[path.name]}; keep one of them")
        seen[path.name] = path
        reason = _out_of_scope(fields, options)
        if reason:
            dropped.append(Dropped(path.relative_to(root).as_posix(), reason))
        else:
            kept.append(_utterance(path, fields, options))
    if not options.allow_partial:
        _check_counts(root, kept, options)
    return Reading(kept, dropped, len(seen))


def _files(root: Path) -> list[Path]:
    """All files, those in linked folders and broken links included; nothing is passed over in silence."""
    found = [Path(folder) / name for folder, _, names in os.walk(root, followlinks=True) for name in names]
    return sorted(path for path in found if not path.name.startswith("._") and path.name not in _CLUTTER)


def fields_of(name: str, where: str) -> dict[str, str]:
    """The seven codes of a clip's file name.

    Args:
        name: such as 01-01-05-02-01-02-17.mp4.
        where: it stands, for messages.

    Raises:
        DataError: no RAVDESS name, or one that the release has not.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise DataError(
            f"{where}: not a RAVDESS name, expected seven two-digit codes such as 01-01-05-02-01-02-17.mp4; "
            "move the file out of the corpus"
        )
    fields = match.groupdict()
    wrong = _contradiction(fields)
    if wrong:
        raise DataError(f"{where}: {wrong}; move the file out of the corpus")
    return fields


def _contradiction(fields: dict[str, str]) -> str:
    """What no file of the release has, or nothing."""
    suffix = "wav" if fields["modality"] == "03" else "mp4"
    if fields["suffix"] != suffix:
        return f"a .{fields['suffix']} of modality {fields['modality']}, expected .{suffix}"
    if fields["emotion"] == "01" and fields["intensity"] == "02":
        return "strong intensity of the neutral emotion, which the release has not"
    if fields["channel"] == "02" and fields["emotion"] in {"07", "08"}:
        return f"a song of emotion {fields['emotion']}, expected 01 to 06"
    if fields["channel"] == "02" and fields["actor"] == "18":
        return "a song of actor 18, who has none in the release"
    return ""


def _out_of_scope(fields: dict[str, str], options: Options) -> str:
    if fields["modality"] not in options.modality_codes:
        code = fields["modality"]
        return f"modality {code} ({_MODALITIES[code]}) is not in modality_codes"
    if fields["channel"] == "02" and not options.include_song:
        return "channel 02 (song) is left out by include_song: false"
    return ""


def _utterance(path: Path, fields: dict[str, str], options: Options) -> Utterance:
    statement, text = STATEMENTS[fields["statement"]]
    emotion = EMOTIONS[fields["emotion"]]
    return Utterance(
        utt_id=path.stem,
        dialogue="",
        turn=0,
        speaker=f"actor_{fields['actor']}",
        sex="M" if int(fields["actor"]) % 2 else "F",
        session="",
        split="",
        # A video-only clip carries a track of exact zeros: decode finds that its audio is absent.
        video="" if fields["suffix"] == "wav" else path.as_posix(),
        audio=path.as_posix(),
        start=0.0,
        end=None,
        text=text,
        label_raw=emotion if options.label == "emotion" else statement,
        extras={
            "take": path.stem.partition("-")[2],
            "modality_code": fields["modality"],
            "channel": _CHANNELS[fields["channel"]],
            "emotion": emotion,
            "intensity": _INTENSITIES[fields["intensity"]],
            "statement": statement,
            "repetition": fields["repetition"],
        },
    )


def _check_counts(root: Path, kept: list[Utterance], options: Options) -> None:
    found = Counter((u.extras["modality_code"], u.extras["channel"]) for u in kept)
    for modality in options.modality_codes:
        for code, expected in _EXPECTED.items():
            channel = _CHANNELS[code]
            count = found[modality, channel]
            if count != expected and (channel == "speech" or options.include_song):
                raise DataError(
                    f"{root}: {count} {channel} clips of modality {modality} ({_MODALITIES[modality]}), expected "
                    f"{expected}; complete the release or set allow_partial: true"
                )
