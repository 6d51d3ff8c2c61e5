"""Action units, landmarks, gaze and head pose from the csv files of OpenFace 2, which runs outside of this project.

Baltrušaitis, Zadeh, Lim and Morency, "OpenFace 2.0: Facial Behavior Analysis Toolkit", FG 2018,
https://doi.org/10.1109/FG.2018.00019; columns: https://github.com/TadasBaltrusaitis/OpenFace/wiki/Output-Format.

`weights` is a folder with one UTT_ID.csv per utterance (`FeatureExtraction -f UTT_ID.mp4 -out_dir FOLDER`). Values are
OpenFace's own, unscaled: intensities from 0 to 5, presences 0 or 1, landmarks in pixels, pose in millimetres and
radians. A step is a frame of the recording at `hz`, the first at 0 s; T is one more than the last step in the file. A
frame that OpenFace marks as failed, whose confidence is below `min_confidence` or that has no row is 0 and not present;
of several faces in a frame the most confident counts. A file without rows is an utterance without steps.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from pipeline.errors import DataError
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import ExtractorOptions, Features, Weights

_INTENSITIES = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
_PRESENCES = (*_INTENSITIES[:-1], "28", "45")
_COLUMNS: dict[str, tuple[str, ...]] = {
    "intensities": tuple(f"AU{unit}_r" for unit in _INTENSITIES),
    "presences": tuple(f"AU{unit}_c" for unit in _PRESENCES),
    "landmarks": tuple(f"{axis}_{point}" for axis in "xy" for point in range(68)),
    "gaze": (*(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"), "gaze_angle_x", "gaze_angle_y"),
    "pose": tuple(f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"),
}
_NEEDED = ("frame", "timestamp", "confidence", "success")
_RATE_TOLERANCE = 0.01
_ROUNDING_S = 0.001

Column = npt.NDArray[np.float64]


class Options(ExtractorOptions):
    """Options of `openface_csv`.

    Args:
        columns: groups, in the order of the features: `intensities` (17) and `presences` (18) of action units,
            `landmarks` (136, all x before all y), `gaze` (8), `pose` (6).
        hz: frames per second of the recordings.
        min_confidence: of a face that counts.
        missing: what an utterance without a file is: an `error`, or `absent`.
    """

    columns: tuple[Literal["intensities", "presences", "landmarks", "gaze", "pose"], ...] = Field(
        default=("intensities", "presences"), min_length=1
    )
    hz: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    missing: Literal["error", "absent"] = "error"

    @field_validator("columns")
    @classmethod
    def _once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) != len(columns):
            raise ValueError(f"found {list(columns)}, expected every group once")
        return columns


class OpenFaceCsv:
    """`dim` features per frame of the recording."""

    stream: Literal["any"] = "any"
    checkpoint = Checkpoint(
        "OpenFace 2 output, one UTT_ID.csv per utterance",
        "https://github.com/TadasBaltrusaitis/OpenFace",
        pattern="*.csv",
        random=False,
    )
    shard = 256
    network = None
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take the columns from `options`."""
        self._folder = Path(str(weights))
        self._options = options
        self._columns = [name for group in options.columns for name in _COLUMNS[group]]
        self.dim = len(self._columns)
        self.hop = 1.0 / options.hz
        self.version = f"numpy {version('numpy')}, openface_csv 1"

    def prepare(self, utt_id: str, content: None) -> Features:
        """Read the file of an utterance.

        Raises:
            DataError: no file, or none of OpenFace's; another frame rate than `hz`.
        """
        path = self._folder / f"{utt_id}.csv"
        if not path.is_file() and self._options.missing == "absent":
            return Features(np.empty((0, self.dim), np.float32))
        frame, time, confidence, success, *values = self._read(path)
        if not len(frame):
            return Features(np.empty((0, self.dim), np.float32))
        steps = self._steps(path, frame, time)
        kept = np.flatnonzero((success > 0) & (confidence >= self._options.min_confidence))
        # Written last, the most confident face of a frame stays.
        kept = kept[np.argsort(confidence[kept], kind="stable")]
        found = np.zeros((steps.max() + 1, self.dim), np.float32)
        present = np.zeros(len(found), np.bool_)
        found[steps[kept]] = np.stack(values, axis=1)[kept]
        present[steps[kept]] = True
        if len(wrong := np.argwhere(~np.isfinite(found))):
            step, column = wrong[0]
            raise DataError(
                f"{path}: step {step}: {self._columns[column]} is {found[step, column]} where a face was found, "
                "expected a number; run OpenFace again on this recording"
            )
        return Features(found, present)

    def extract(self, prepared: Sequence[Features]) -> list[Features]:
        """Values `(T, dim)` float32 and present `(T,)`, as they were read."""
        return list(prepared)

    def _read(self, path: Path) -> list[Column]:
        """Columns that are needed, `(rows,)` each."""
        fix = "put OpenFace's output for this utterance there"
        if not path.is_file():
            raise DataError(f"{path}: no such file, expected {self.checkpoint.model}; {fix}, or set `missing: absent`")
        with path.open(encoding="utf-8", errors="replace") as file:
            header = [name.strip() for name in file.readline().split(",")]
            wanted = [*_NEEDED, *self._columns]
            if lacking := [name for name in wanted if name not in header]:
                raise DataError(
                    f"{path}: no column {lacking[0]}{' and others' * (len(lacking) > 1)}, expected those of OpenFace 2 "
                    f"(-2Dfp -pose -aus -gaze); {fix}"
                )
            lines = [line for line in file if line.strip()]
        if not lines:
            return [np.empty(0)] * len(wanted)
        try:
            table = np.loadtxt(lines, delimiter=",", usecols=[header.index(name) for name in wanted], ndmin=2)
        except ValueError as error:
            raise DataError(f"{path}: {error}, expected a number in every column; {fix}") from None
        return list(table.T)

    def _steps(
        self, path: Path, frame: npt.NDArray[np.float64], time: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Step of every row: frames count, the first one's time says where they begin."""
        first, last = frame.argmin(), frame.argmax()
        frames, seconds = frame[last] - frame[first], time[last] - time[first]
        expected = frames * self.hop
        if not abs(seconds - expected) <= _RATE_TOLERANCE * expected + 2 * _ROUNDING_S:
            raise DataError(
                f"{path}: frames {frame[first]:g} to {frame[last]:g} at {time[first]:g} to {time[last]:g} s, expected "
                f"{self._options.hz:g} Hz; set `hz` to the rate of the recordings"
            )
        steps = np.rint(frame - frame[first] + time[first] * self._options.hz)
        return np.asarray(steps, np.int64)
