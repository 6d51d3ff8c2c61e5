"""Makes the demo corpus: real mp4 files with planted cues, and metadata.csv with the symbols and their optimum."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from pipeline.corpora.demo import COLUMNS, face, speech, symbols, transcript, voice
from pipeline.corpora.demo.dialogues import Turn, plan
from pipeline.corpora.demo.media import write_mp4
from pipeline.corpora.demo.noise import LEVELS, degrade_pictures, degrade_sound
from pipeline.corpora.demo.portrait import Drawer
from pipeline.corpora.protocol import CorpusOptions
from pipeline.execution.jobs import run_jobs
from pipeline.files import atomic, write_csv
from pipeline.progress import track
from pipeline.seeding import stream

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Preset = Literal["realistic", "redundant", "complementary", "synergy", "text_only", "null"]

PRESETS: dict[Preset, tuple[float, ...]] = {
    "realistic": (0.45, 0.10, 0.10, 0.20, 0.05, 0.10),
    "redundant": (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "complementary": (0.0, 1.0, 1.0, 1.0, 0.0, 0.0),
    "synergy": (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "text_only": (0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    "null": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
"""Weights of `symbols.MODES`."""

_JOB_CLIPS = 25
_DURATION = (0.9, 0.35, 1.2, 5.0)
_WORDS_PER_S = 2.6


class Options(CorpusOptions):
    """What is generated.

    Args:
        clips: how many, over all sessions.
        sessions: of two speakers each, one F and one M.
        preset: how the class is spread over the modalities; YAML's null means the preset of that name.
        error_text: probability that the text shows another class than it should.
        error_audio: the same for the voice.
        error_vision: the same for the face.
        absent_text: probability that the transcript is empty.
        absent_audio: probability that the sound track is silent.
        absent_vision: probability that no face is in the picture.
        noise: level of signal noise.
        fps: frames per second.
        px: side of the picture in pixels.
    """

    clips: Annotated[int, Field(ge=2)] = 600
    sessions: Annotated[int, Field(ge=1, le=99)] = 5
    preset: Annotated[Preset, BeforeValidator(lambda preset: "null" if preset is None else preset)] = "realistic"
    error_text: Share = 0.15
    error_audio: Share = 0.22
    error_vision: Share = 0.14
    absent_text: Share = 0.02
    absent_audio: Share = 0.02
    absent_vision: Share = 0.02
    noise: Literal[0, 1, 2, 3] = 1
    fps: Annotated[int, Field(ge=5, le=60)] = 10
    px: Annotated[int, Field(ge=48, le=512, multiple_of=2)] = 128

    @model_validator(mode="after")
    def _enough(self) -> "Options":
        if self.clips < 2 * self.sessions:
            raise ValueError(
                f"clips is {self.clips}, expected at least two for each of {self.sessions} sessions: one per speaker"
            )
        return self


@dataclass(frozen=True)
class Clip:
    """A turn with what it shows; triples are in the order text, audio, vision.

    Args:
        turn: who, when and which class.
        mode: of `symbols.MODES`, or "".
        shown: symbols.
        strength: how strongly each is shown, in [0, 1].
        frames: length of the clip.
        said: words spoken.
        text: transcript.
    """

    turn: Turn
    mode: str
    shown: symbols.Symbols
    strength: tuple[float, float, float]
    frames: int
    said: str
    text: str


def process(options: Options) -> symbols.Process:
    """The planting process that `options` ask for."""
    return symbols.Process(
        PRESETS[options.preset],
        (options.error_text, options.error_audio, options.error_vision),
        (options.absent_text, options.absent_audio, options.absent_vision),
    )


def optimum(options: Options) -> dict[str, float]:
    """Expected accuracy, in [0, 1], of the Bayes-optimal reader of the symbols, by modality set (t, a, ... tav)."""
    return symbols.optimum(process(options))


def generate(target: Path, options: Options, seed: int) -> None:
    """Write the corpus into the folder `target`: metadata.csv and clips/{session}/{utt_id}.mp4, whole or not at all."""
    clips = compose(options, seed)
    table = symbols.joint(process(options))
    with atomic(target) as folder:
        for session in sorted({clip.turn.session for clip in clips}):
            (folder / "clips" / session).mkdir(parents=True)
        done = (utt_id for ids in run_jobs(_render_all, _jobs(clips, options, seed, folder)) for utt_id in ids)
        for _ in track(done, "generate", "clips", len(clips)):
            pass
        write_csv(folder / "metadata.csv", COLUMNS, (_row(clip, options.fps, table) for clip in clips))


def compose(options: Options, seed: int) -> list[Clip]:
    """Draw all that is discrete: turns, classes, symbols, words and lengths."""
    return [_compose(turn, options, seed) for turn in plan(options.clips, options.sessions, seed)]


def _compose(turn: Turn, options: Options, seed: int) -> Clip:
    mode, shown = symbols.draw(process(options), turn.label, stream(seed, "demo", turn.utt_id, "symbols"))
    chance = stream(seed, "demo", turn.utt_id, "words")
    text, audio, vision = chance.beta(4, 2, size=3)
    mean, spread, shortest, longest = _DURATION
    # The length is drawn first and alone, so that it tells nothing of the class.
    duration = float(np.clip(chance.lognormal(mean, spread), shortest, longest))
    words = round(_WORDS_PER_S * duration * chance.lognormal(0, 0.1))
    absent = shown[0] == symbols.ABSENT
    said = transcript.say(symbols.NEUTRAL if absent else shown[0], text, words, chance)
    heard = "" if absent else transcript.mishear(said, LEVELS[options.noise].word_errors, chance)
    return Clip(turn, mode, shown, (text, audio, vision), round(duration * options.fps), said, heard)


def _row(clip: Clip, fps: int, table: npt.NDArray[np.float64]) -> dict[str, object]:
    modalities = ("text", "audio", "vision")
    return {
        **asdict(clip.turn),
        "seconds": clip.frames / fps,
        "text": clip.text,
        "planted_mode": clip.mode,
        **{f"symbol_{m}": symbol for m, symbol in zip(modalities, clip.shown, strict=True)},
        **{f"strength_{m}": round(value, 4) for m, value in zip(modalities, clip.strength, strict=True)},
        **{f"planted_{name}": symbols.best_class(table, name, clip.shown) for name in symbols.SETS},
    }


@dataclass(frozen=True)
class _Job:
    clips: list[Clip]
    options: Options
    seed: int
    folder: Path


def _jobs(clips: list[Clip], options: Options, seed: int, folder: Path) -> Iterator[_Job]:
    rest = iter(clips)
    while part := list(islice(rest, _JOB_CLIPS)):
        yield _Job(part, options, seed, folder)


def _render_all(job: _Job) -> list[str]:
    """Render the clips of one job; gives their ids."""
    for clip in job.clips:
        _render(clip, job.options, job.seed, job.folder / "clips" / clip.turn.session / f"{clip.turn.utt_id}.mp4")
    return [clip.turn.utt_id for clip in job.clips]


def _render(clip: Clip, options: Options, seed: int, path: Path) -> None:
    turn, level = clip.turn, LEVELS[options.noise]

    def chance(use: str) -> np.random.Generator:
        return stream(seed, "demo", turn.utt_id, use)

    syllables = speech.plan(clip.said, clip.frames / options.fps, chance("syllables"))
    samples = clip.frames * voice.RATE // options.fps
    sound = np.zeros(samples)
    if clip.shown[1] != symbols.ABSENT:
        traits = voice.draw_traits(turn.sex, stream(seed, "demo", turn.speaker, "voice"))
        spoken = voice.speak(syllables, samples, clip.shown[1], clip.strength[1], traits, chance("voice"))
        sound = degrade_sound(spoken, voice.RATE, level, chance("sound noise"))
    drawer = Drawer(face.draw_traits(turn.sex, stream(seed, "demo", turn.speaker, "face")), options.px)
    frames = [drawer.backdrop] * clip.frames
    if clip.shown[2] != symbols.ABSENT:
        opening = face.mouth_opening(syllables, clip.frames, options.fps)
        motion = face.move(clip.shown[2], clip.strength[2], opening, options.fps, chance("face"))
        frames = [drawer.frame(motion, index) for index in range(clip.frames)]
    frames = degrade_pictures(frames, drawer.backdrop, level, chance("picture noise"))
    pcm = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    write_mp4(path, frames, options.fps, pcm, voice.RATE)
