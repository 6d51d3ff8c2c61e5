"""OpenFace's csv files: columns, absence, several faces, rates, damage, the folder's hash."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError, ParamsError
from pipeline.extractors.openface_csv import _COLUMNS, OpenFaceCsv, Options
from pipeline.section import options as checked

ALL = [name for group in _COLUMNS.values() for name in group]


def write(path: Path, rows: list[tuple], columns: list[str] = ALL, header: str = "") -> None:
    """Rows are (frame, face, time, confidence, success, value); column k holds value + k."""
    lines = [header or ", ".join(["frame", "face_id", "timestamp", "confidence", "success", *columns])]
    for frame, face, time, confidence, success, value in rows:
        cells = [f"{value + k:.3f}" for k in range(len(columns))]
        lines.append(", ".join([str(frame), str(face), f"{time:.3f}", str(confidence), str(success), *cells]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def film(frames: int, rate: float = 30.0) -> list[tuple]:
    return [(k + 1, 0, k / rate, 0.98, 1, 1000 * k) for k in range(frames)]


def read(folder: Path, utt_id: str = "u", **options):
    made = OpenFaceCsv(checked(Options, options, "options"), folder, {})
    return made.extract([made.prepare(utt_id, None)])[0]


@pytest.mark.parametrize(
    ("columns", "dim", "first", "last"),
    [
        (["intensities"], 17, "AU01_r", "AU45_r"),
        (["presences"], 18, "AU01_c", "AU45_c"),
        (["landmarks"], 136, "x_0", "y_67"),
        (["gaze"], 8, "gaze_0_x", "gaze_angle_y"),
        (["pose"], 6, "pose_Tx", "pose_Rz"),
        (["pose", "intensities"], 23, "pose_Tx", "AU45_r"),
    ],
)
def test_columns_come_in_the_order_asked_for(tmp_path, columns, dim, first, last):
    write(tmp_path / "u.csv", film(2))
    values = read(tmp_path, columns=columns).values
    assert OpenFaceCsv(Options(columns=tuple(columns)), tmp_path, {}).dim == dim
    assert values.shape == (2, dim)
    assert values[:, [0, -1]].tolist() == [[1000.0 * k + ALL.index(name) for name in (first, last)] for k in (0, 1)]


def test_groups_are_those_of_the_toolkit():
    assert [len(group) for group in _COLUMNS.values()] == [17, 18, 136, 8, 6]
    assert set(_COLUMNS["presences"]) - {name.replace("_r", "_c") for name in _COLUMNS["intensities"]} == {"AU28_c"}


def test_failed_and_doubtful_and_left_out_frames_are_not_present(tmp_path):
    rows = film(6)
    rows[1] = (*rows[1][:4], 0, 5.0)
    rows[2] = (*rows[2][:3], 0.5, 1, 5.0)
    del rows[4]
    write(tmp_path / "u.csv", rows)
    features = read(tmp_path, min_confidence=0.8)
    assert features.present.tolist() == [True, False, False, True, False, True]
    assert not features.values[~features.present].any()
    assert read(tmp_path).present.tolist() == [True, False, True, True, False, True]


def test_of_several_faces_the_most_confident_counts(tmp_path):
    rows = [(1, 0, 0.0, 0.7, 1, 10), (1, 1, 0.0, 0.9, 1, 20), (2, 0, 0.033, 0.99, 0, 30), (2, 1, 0.033, 0.6, 1, 40)]
    write(tmp_path / "u.csv", [*rows, (2, 2, 0.033, 0.5, 1, 50)])
    assert read(tmp_path, columns=["intensities"]).values[:, 0].tolist() == [20.0, 40.0]


def test_file_that_begins_with_a_later_face_keeps_its_time(tmp_path):
    write(tmp_path / "u.csv", film(6)[3:])
    assert read(tmp_path).present.tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize(("rate", "hz"), [(29.97, 30.0), (25.0, 25.0), (30.0, 30.0)])
def test_frames_of_the_declared_rate_do_not_drift(tmp_path, rate, hz):
    write(tmp_path / "u.csv", film(3000, rate), columns=[*_COLUMNS["intensities"]])
    features = read(tmp_path, columns=["intensities"], hz=hz)
    assert features.present.all()
    assert len(features.values) == 3000


def test_another_rate_than_declared_is_refused(tmp_path):
    write(tmp_path / "u.csv", film(50, 25.0))
    with pytest.raises(
        DataError, match=r"u\.csv: frames 1 to 50 at 0 to 1\.96 s, expected 30 Hz; set `hz` to the rate"
    ):
        read(tmp_path)


def test_missing_file_is_named_unless_it_means_absence(tmp_path):
    with pytest.raises(
        DataError, match=r"/u\.csv: no such file, expected OpenFace 2 output, one UTT_ID\.csv .*absent`"
    ):
        read(tmp_path)
    assert read(tmp_path, missing="absent").values.shape == (0, 35)


def test_file_without_rows_has_no_steps(tmp_path):
    write(tmp_path / "u.csv", [])
    assert read(tmp_path).values.shape == (0, 35)


def test_missing_column_is_named(tmp_path):
    write(tmp_path / "u.csv", film(1), columns=[*_COLUMNS["pose"]])
    with pytest.raises(DataError, match=r"u\.csv: no column AU01_r and others, expected those of OpenFace 2"):
        read(tmp_path)


@pytest.mark.parametrize("damage", ["1, 0, 0.0, 0.9", "1, 0, 0.0, 0.9, 1, what" + ", 0" * len(ALL)])
def test_damaged_row_names_the_file(tmp_path, damage):
    write(tmp_path / "u.csv", film(1))
    with (tmp_path / "u.csv").open("a") as file:
        file.write(damage + "\n")
    with pytest.raises(DataError, match=r"u\.csv: .*row.*, expected a number in every column; put OpenFace's output"):
        read(tmp_path)


def test_infinite_value_of_a_face_is_refused(tmp_path):
    write(tmp_path / "u.csv", [*film(2), (3, 0, 2 / 30, 0.9, 1, float("nan"))])
    with pytest.raises(DataError, match=r"u\.csv: step 2: AU01_r is nan where a face was found, expected a number"):
        read(tmp_path)


def test_groups_may_not_repeat():
    with pytest.raises(ParamsError, match="expected every group once"):
        checked(Options, {"columns": ["gaze", "gaze"]}, "options")


def test_checkpoint_is_a_folder_of_csv_files_with_the_hash_of_their_listing(tmp_path):
    checkpoint = OpenFaceCsv.checkpoint
    with pytest.raises(DataError, match=r": no \*\.csv, expected OpenFace 2 output.*name a folder with \*\.csv in"):
        checkpoint.find(str(tmp_path), "where")
    for utt_id in ("b", "a", "B", "a-1"):
        write(tmp_path / f"{utt_id}.csv", film(1))
    (tmp_path / "notes.txt").write_text("does not count")
    assert checkpoint.find(str(tmp_path), "where") == tmp_path
    command = ["bash", "-c", "export LC_ALL=C; sha256sum *.csv | sha256sum"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert checkpoint.sha256(tmp_path) == done.stdout.split()[0]


def test_weights_cannot_be_random():
    with pytest.raises(ParamsError, match="found 'random', but OpenFace 2 output"):
        OpenFaceCsv.checkpoint.check("random", "where")


def test_values_measured_before(tmp_path):
    write(tmp_path / "u.csv", film(3))
    assert read(tmp_path).values.mean(0)[[0, 17, 34]].tolist() == pytest.approx([1000.0, 1017.0, 1034.0])
    assert np.isfinite(read(tmp_path).values).all()
