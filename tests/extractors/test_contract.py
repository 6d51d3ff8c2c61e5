"""What every extractor of the registry promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import registry
from pipeline.data.store import FeatureStore
from pipeline.data.streams import AUDIO_RATE, AudioStream, ImageStream, TextStream
from pipeline.errors import ParamsError
from tests.streams import write_glove, write_openface

FILES = {"glove": write_glove, "openface_csv": write_openface}

NAMES = registry.names("extractors")
READERS = {"audio": AudioStream, "faces": ImageStream, "frames": ImageStream, "text": TextStream}
BATCH_TOLERANCE = 1e-5
"""By how much a network may round differently in another batch, as a share of the largest value; toolkits may not."""


def entry(name: str) -> type:
    return registry.entry_class(registry.load("extractors", name), "extract")


def reads(name: str) -> str:
    return "faces" if entry(name).stream == "any" else entry(name).stream


def rows(store: FeatureStore) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with store:
        return {utt_id: store.row(utt_id) for utt_id in store.ids}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def weights(name, streams, tmp_path_factory) -> dict[str, str]:
    """What params.yaml would name: nothing, the real architecture untrained, or files made here."""
    checkpoint = entry(name).checkpoint
    if checkpoint is None or checkpoint.packaged:
        return {}
    if checkpoint.random:
        return {"weights": "random"}
    path = tmp_path_factory.mktemp("weights") / "files"
    with READERS[reads(name)](streams[reads(name)]) as stream:
        FILES[name](path, stream.ids)
    return {"weights": str(path), "weights_sha256": checkpoint.sha256(path)}


@pytest.fixture(scope="module")
def extracted(name, streams, run, weights, tmp_path_factory):
    """The store of every extractor over its stream, made once."""
    kind = reads(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LACUNA_JOBS", "1")
        return run(streams[kind], tmp_path_factory.mktemp(name) / "store.h5", name, kind, **weights)


def prepared_and_extracted(extractor, stream, ids):
    contents = [None if extractor.stream == "any" else stream.row(utt_id) for utt_id in ids]
    return extractor.extract([extractor.prepare(u, content) for u, content in zip(ids, contents, strict=True)])


@pytest.fixture(scope="module")
def built(name, streams, weights):
    """The extractor as a worker builds it, and its open stream."""
    kind = reads(name)
    with READERS[kind](streams[kind]) as stream:
        module = registry.load("extractors", name)
        precision = {"precision": "float32"} if "precision" in module.Options.model_fields else {}
        given = weights.get("weights")
        own = given if given in {None, "random"} else Path(given)
        if own is None and entry(name).checkpoint:
            own = entry(name).checkpoint.packaged()
        yield entry(name)(module.Options(**precision), own, stream.attrs), stream


def test_rows_are_those_of_the_stream_and_quarantine_is_carried_over(name, extracted, streams):
    with READERS[reads(name)](streams[reads(name)]) as stream:
        assert extracted.ids == stream.ids
        assert extracted.excluded == stream.excluded == ["z_quarantined"]


def test_features_are_float32_of_the_declared_width_and_finite(extracted):
    values = extracted.whole("values")
    assert values.dtype == np.float32
    assert values.shape[1] == extracted.provenance.dim
    assert np.isfinite(values).all()


def test_steps_cover_the_recording(name, extracted, streams):
    hop, kind = extracted.provenance.hop, reads(name)
    if hop is None:
        evenly = name not in {"absent"} and kind != "text"
        assert not evenly or set(extracted.lengths()) <= {0, 1}, "only words, or one step in all, have no hop"
        return
    if entry(name).stream == "any":
        return  # its steps are those of files beside the stream
    with READERS[kind](streams[kind]) as stream:
        for utt_id, steps in zip(extracted.ids, extracted.lengths(), strict=True):
            content = stream.row(utt_id)
            seconds = len(content) / AUDIO_RATE if kind == "audio" else len(content.jpegs) / stream.rate
            if steps:
                assert abs(steps * hop - seconds) <= 0.06 + hop


def test_empty_input_is_absent_and_nothing_else_is(name, extracted):
    absent = {utt_id for utt_id, steps in zip(extracted.ids, extracted.lengths(), strict=True) if not steps}
    empty = {"e_absent_00", "g_never_seen_00", "h_white_space_00"} & set(extracted.ids)
    if entry(name).stream == "any":
        empty = set(extracted.ids) if name == "absent" else set()
    assert absent == empty


def test_tokens_are_given_where_they_are_promised(name, extracted):
    assert extracted.provenance.tokens == entry(name).has_tokens
    for utt_id in extracted.ids:
        tokens = extracted.tokens(utt_id)
        assert (tokens is not None) == entry(name).has_tokens
        assert tokens is None or (tokens.dtype, len(tokens)) == (np.int32, len(extracted.row(utt_id)[0]))


def test_what_is_not_present_is_zero(extracted):
    assert not extracted.whole("values")[~extracted.whole("present")].any()


def test_second_run_gives_the_same_bytes(name, extracted, streams, run, weights, tmp_path):
    kind = reads(name)
    run(streams[kind], tmp_path / "again.h5", name, kind, **weights)
    assert (tmp_path / "again.h5").read_bytes() == extracted.path.read_bytes()


def test_features_do_not_depend_on_order_neighbours_or_batch(name, extracted, built):
    extractor, stream = built
    there = [utt_id for utt_id, steps in zip(extracted.ids, extracted.lengths(), strict=True) if steps]
    backwards = prepared_and_extracted(extractor, stream, there[::-1])[::-1]
    for utt_id, together in zip(there, backwards, strict=True):
        alone = prepared_and_extracted(extractor, stream, [utt_id])[0]
        scale = max(1.0, float(np.abs(alone.values).max()))
        tolerance = 0.0 if extractor.network is None else BATCH_TOLERANCE * scale
        np.testing.assert_allclose(together.values, alone.values, rtol=0, atol=tolerance)
        np.testing.assert_allclose(extracted.row(utt_id)[0], alone.values, rtol=0, atol=tolerance)


def test_provenance_is_complete(name, extracted, built, weights):
    found, (extractor, stream) = extracted.provenance, built
    assert found.extractor == name
    assert found.version == extractor.version
    assert found.version.endswith(f"{name} 1")
    options = json.loads(registry.load("extractors", name).Options().model_dump_json())
    assert found.options == options | ({"precision": "float32"} if "precision" in options else {})
    assert (found.dim, found.hop) == (extractor.dim, extractor.hop)
    assert found.source_sha256 == stream.content_sha256
    assert found.random_weights is (weights.get("weights") == "random")
    assert (found.weights_sha256 is None) == (found.random_weights or entry(name).checkpoint is None)
    assert found.modality in {"text", "audio", "vision"}


def test_network_is_what_has_a_precision(name, built):
    assert (built[0].network is None) == ("precision" not in registry.load("extractors", name).Options.model_fields)


def test_unknown_option_is_refused_with_its_place_and_what_is_known(name, streams, run, weights, tmp_path):
    known = list(registry.load("extractors", name).Options.model_fields)
    wrong = known[0] + "x" if known else "colour"
    with pytest.raises(ParamsError) as caught:
        run(streams[reads(name)], tmp_path / "s.h5", name, reads(name), {wrong: 1}, **weights)
    hint = f"did you mean '{known[0]}'?" if known else "expected one of none"
    assert str(caught.value) == f"params.yaml: features.tested.options.{name}.{wrong}: unknown key, {hint}"


def test_importing_an_extractor_is_cheap(name):
    """Options are read without starting the toolkits; fresh interpreter, since other tests import them all."""
    heavy = {"torch", "transformers", "librosa", "opensmile", "cv2", "numba", "pandas", "pytorchvideo", "scipy"}
    code = f"import sys, pipeline.extractors.{name}; print(*sorted({heavy!r} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
