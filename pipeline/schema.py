"""The sections of params.yaml but for the blocks of methods."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from pipeline.section import Name, Rate, Section, distinct

FeatureSetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?$")]
Modality = Literal["text", "audio", "vision"]
Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(distinct)]


class Synthetic(Section):
    """A corpus to generate: `generator` is a package in pipeline/corpora with a `generate` module.

    Args:
        generator: name of the package.
        options: its own parameters, validated by it.
    """

    generator: Name = "demo"
    options: dict[str, Any] = Field({})


class Decode(Section):
    """How a corpus is decoded.

    Args:
        streams: which of audio, faces, frames to write; text is always written.
        face: find the face in every frame, or take the whole frame where it already is the face.
        face_hz: face crops per second.
        face_px: side of a face crop in pixels.
        frame_hz: frames per second of frames.h5.
        frame_px: short side of a frame in pixels.
        quarantine_budget: share of clips that may be unreadable before the stage fails.
    """

    streams: tuple[Literal["audio", "faces", "frames"], ...] = ("audio", "faces")
    face: Literal["detect", "whole_frame"] = "detect"
    face_hz: PositiveFloat = 5.0
    face_px: PositiveInt = 112
    frame_hz: PositiveFloat = 30.0
    frame_px: PositiveInt = 256
    quarantine_budget: Rate = 0.0


class Corpus(Section):
    """A corpus on disk.

    Args:
        reader: module in pipeline/corpora.
        options: the reader's own parameters, validated by it.
        decode: how its media are decoded.
    """

    reader: Name
    options: dict[str, Any] = Field({})
    decode: Decode = Decode()


class FeatureCorpus(Section):
    """A corpus that comes as features, made by others; its feature sets are `NAME/text`, `NAME/audio`, `NAME/vision`.

    Args:
        importer: module in pipeline/importers.
        raw: folder under data/raw that has the files; several feature corpora may read one.
        options: the importer's own parameters, validated by it.
    """

    importer: Name
    raw: Name
    options: dict[str, Any] = Field({})


class FeatureSet(Section):
    """One extractor run on one corpus.

    Args:
        corpus: key of `corpora`.
        modality: what the features stand for.
        stream: the decoded stream that the extractor reads.
        extractor: module in pipeline/extractors.
        options: per extractor name its own parameters, so that swapping `extractor` needs no other edit.
        weights: folder or file of the weights, or null.
        weights_sha256: their hash, checked when given.
    """

    corpus: Name
    modality: Modality
    stream: Literal["text", "audio", "faces", "frames"]
    extractor: Name
    options: dict[Name, dict[str, Any]] = Field({})
    weights: str | None = None
    weights_sha256: str | None = None


class TaskParams(Section):
    """The task of a benchmark.

    Args:
        kind: single-label classification, or regression of a value per utterance.
        label: the column of the manifest that has the label.
        labels: the owner's label -> class, or null to leave such utterances out; classes are numbered alphabetically.
            None in a regression, whose labels are numbers.
        positive_from: values at or above it count as positive in the binary metrics of a regression.
    """

    kind: Literal["classification", "regression"] = "classification"
    label: str = "label_raw"
    labels: dict[str, str | None] | None = None
    positive_from: float = 0.0

    @model_validator(mode="after")
    def _labels_of_classes(self) -> "TaskParams":
        if (self.kind == "classification") != (self.labels is not None):
            wanted = "the owner's labels and their classes" if self.kind == "classification" else "none in a regression"
            raise ValueError(f"found labels {'null' if self.labels is None else 'given'}, expected {wanted}")
        return self


class Folds(Section):
    """How utterances are divided.

    Args:
        protocol: see pipeline/splits/folds.py.
        column: the column of the manifest that has the owner's parts, for official.
        test_speakers: which speaker of the held-out session is tested (the other validates), for
            leave_one_session_out.
        folds: number of folds of k_fold_by_speaker.
        test_share: share of clips or speakers tested, for random_by_clip and random_by_speaker.
        seeds: one split per seed, for these two.
    """

    protocol: Literal["leave_one_session_out", "official", "k_fold_by_speaker", "random_by_clip", "random_by_speaker"]
    column: str = "split"
    test_speakers: Literal["F", "M", "both"] = "F"
    folds: PositiveInt = 5
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    seeds: Seeds = (42, 1, 2, 3, 4)


class FramesMissing(Section):
    """Single steps drop out independently, at each of `rates`, `repeats` times."""

    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    repeats: PositiveInt = 1

    @model_validator(mode="after")
    def _sorted(self) -> "FramesMissing":
        if list(self.rates) != sorted(set(self.rates)):
            raise ValueError(f"found rates {list(self.rates)}, expected ascending ones without repetition")
        return self


class BurstsMissing(FramesMissing):
    """Spans of steps drop out or stay together: a Markov chain whose spans have a mean of `span` steps, at least 1."""

    span: Annotated[float, Field(ge=1.0)] = 5.0


class ModalitiesMissing(Section):
    """Only a named set of modalities is there: t, a, v, ta, tv, av, tav."""

    sets: Annotated[
        tuple[Literal["t", "a", "v", "ta", "tv", "av", "tav"], ...], Field(min_length=1), AfterValidator(distinct)
    ]


class BernoulliMissing(Section):
    """Whole modalities drop out independently: each condition is (p_text, p_audio, p_vision)."""

    conditions: Annotated[tuple[tuple[Rate, Rate, Rate], ...], Field(min_length=1), AfterValidator(distinct)]
    repeats: PositiveInt = 1


class AtLeastOneMissing(FramesMissing):
    """Whole modalities drop out independently at a rate, and one chosen at random stays."""


class TestMissing(Section):
    """What is taken away at test time; a pattern that is null is not drawn."""

    __test__ = False

    frames: FramesMissing | None = None
    bursts: BurstsMissing | None = None
    modalities: ModalitiesMissing | None = None
    bernoulli: BernoulliMissing | None = None
    at_least_one: AtLeastOneMissing | None = None

    @model_validator(mode="after")
    def _some(self) -> "TestMissing":
        if not any(value for _, value in self):
            raise ValueError(f"every pattern is null, expected at least one of {', '.join(type(self).model_fields)}")
        return self


class Missing(Section):
    """Missing data of a benchmark. What training drops is a matter of each method's regime."""

    test: TestMissing


class ThreeFeatureSets(Section):
    """The feature set of every modality."""

    text: FeatureSetName
    audio: FeatureSetName
    vision: FeatureSetName


class ThreeLengths(Section):
    """Longest sequence per modality, in steps; longer ones are cut at the end."""

    text: PositiveInt
    audio: PositiveInt
    vision: PositiveInt


class Benchmark(Section):
    """A corpus under one protocol.

    Args:
        corpus: key of `corpora` or `feature_corpora`.
        features: three feature sets of that corpus.
        task: labels.
        folds: protocol.
        seeds: training seeds, or `from_fold` where every fold carries its own.
        max_lengths: where sequences are cut.
        missing: test masks.
    """

    corpus: Name
    features: ThreeFeatureSets
    task: TaskParams
    folds: Folds
    seeds: Seeds | Literal["from_fold"]
    max_lengths: ThreeLengths
    missing: Missing

    @model_validator(mode="after")
    def _seeds_of_folds(self) -> "Benchmark":
        if self.seeds == "from_fold" and not self.folds.protocol.startswith("random_"):
            raise ValueError(
                f"seeds is 'from_fold', but the folds of {self.folds.protocol} carry none; write a list of seeds"
            )
        return self


class Training(Section):
    """What all methods of a study share in training.

    Args:
        rates: missing rates that regime `one_to_one` trains a model for; test rates must be among them.
    """

    rates: tuple[Rate, ...] = ()


class Score(Section):
    """What is computed from predictions.

    Args:
        interval: confidence of intervals.
        reference: the row that all others are compared with, run by run, or null.
        durations: edges in seconds, ascending, between which scores are split by the duration of utterances: (0, 2],
            (2, 4] and so on, and what is longer than the last; none for no such split.
    """

    interval: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    reference: str | None = None
    durations: tuple[PositiveFloat, ...] = ()

    @model_validator(mode="after")
    def _sorted(self) -> "Score":
        if list(self.durations) != sorted(set(self.durations)):
            raise ValueError(f"found durations {list(self.durations)}, expected ascending ones without repetition")
        return self


class Report(Section):
    """What people are shown.

    Args:
        title: of the report.
        primary: the metric of the first table and plot; a benchmark whose task has no such metric shows its own main
            one (UAR of a classification, MAE of a regression).
        published: by benchmark, the file studies/published/{name}.csv whose figures stand beside the measured ones.
        beware: by benchmark, what must be read before any of its numbers.
    """

    title: str
    primary: Literal["ACC", "UAR", "UF1", "WF1", "MAE", "Corr", "ACC2", "F1", "ACC2_non0", "F1_non0"] = "UAR"
    published: dict[Name, Name] = Field({})
    beware: dict[Name, str] = Field({})
