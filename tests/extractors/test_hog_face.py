"""Face descriptors: frames without a face, options, damage."""

import cv2
import numpy as np
import pytest

from pipeline.data.streams import Images, write_images
from pipeline.errors import DataError, ParamsError


def test_frame_without_a_face_keeps_its_place_and_is_not_present(streams, run, tmp_path):
    with run(streams["faces"], tmp_path / "store.h5", "hog_face", "faces") as store:
        values, present = store.row("f_some_seen_00")
    assert present.tolist() == [True, False, False, True]
    assert not values[1:3].any()
    assert values[[0, 3]].any(axis=1).all()


def test_hop_is_that_of_the_stream(run, tmp_path):
    jpeg = cv2.imencode(".jpg", np.arange(256, dtype=np.uint8).reshape(16, 16))[1].tobytes()
    write_images(tmp_path / "faces.h5", [("u", Images([jpeg], np.zeros(1, np.float32)))], {"rate": 12.5}, [])
    with run(tmp_path / "faces.h5", tmp_path / "store.h5", "hog_face", "faces") as store:
        assert store.provenance.hop == 0.08


@pytest.mark.parametrize(
    ("options", "dim"), [({}, 324), ({"cell": 8}, 1764), ({"size": 32}, 36), ({"size": 48, "bins": 6}, 96)]
)
def test_width_follows_from_the_options(streams, run, tmp_path, options, dim):
    with run(streams["faces"], tmp_path / "store.h5", "hog_face", "faces", options) as store:
        assert store.provenance.dim == dim
        assert store.row("a_faces_00")[0].shape == (5, dim)


@pytest.mark.parametrize("options", [{"size": 60}, {"size": 16}, {"size": 64, "cell": 40}])
def test_sizes_that_do_not_divide_are_refused(streams, run, tmp_path, options):
    with pytest.raises(ParamsError, match=r"features\.tested\.options\.hog_face: size is \d+ and cell \d+, expected"):
        run(streams["faces"], tmp_path / "store.h5", "hog_face", "faces", options)


def test_colour_and_size_of_the_crop_hardly_matter(run, tmp_path):
    grey = np.zeros((112, 112), np.uint8)
    cv2.circle(grey, (56, 56), 30, 220, -1)
    pictures = [grey, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), cv2.resize(grey, (224, 224))]
    jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
    write_images(tmp_path / "faces.h5", [("u", Images(jpegs, np.arange(3, dtype=np.float32)))], {"rate": 1.0}, [])
    with run(tmp_path / "faces.h5", tmp_path / "store.h5", "hog_face", "faces") as store:
        values, _ = store.row("u")
    np.testing.assert_allclose(values[1:], values[[0, 0]], atol=0.1)
    assert values[0].max() > 0.3


def test_bytes_that_are_no_image_name_utterance_and_frame(run, tmp_path):
    images = Images([b"", b"not a jpeg"], np.zeros(2, np.float32))
    write_images(tmp_path / "faces.h5", [("broken", images)], {"rate": 5.0}, [])
    with pytest.raises(DataError, match=r"utterance 'broken', frame 1: 10 bytes that are no image, expected JPEG"):
        run(tmp_path / "faces.h5", tmp_path / "store.h5", "hog_face", "faces")
