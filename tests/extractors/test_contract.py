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

NAMES = registry.names("extractors")
READERS = {"audio": AudioStream, "faces": ImageStream, "text": TextStream}


def reads(name: str) -> str:
    kind = registry.entry_class(registry.load("extractors", name), "extract").stream
    return "audio" if kind == "any" else kind


def rows(store: FeatureStore) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with store:
        return {utt_id: store.row(utt_id) for utt_id in store.ids}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def extracted(name, streams, run, tmp_path_factory):
    """The store of every extractor over its stream, made once."""
    kind = reads(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LACUNA_JOBS", "1")
        return run(streams[kind], tmp_path_factory.mktemp(name) / "store.h5", name, kind)


def build(name, stream, **options):
    module = registry.load("extractors", name)
    return registry.entry_class(module, "extract")(module.Options(**options), None, stream.attrs)


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
    hop = extracted.provenance.hop
    if hop is None:
        assert name == "absent" or reads(name) == "text", "only words are not evenly spaced"
        return
    kind = reads(name)
    with READERS[kind](streams[kind]) as stream:
        for utt_id, steps in zip(extracted.ids, extracted.lengths(), strict=True):
            content = stream.row(utt_id)
            seconds = len(content) / AUDIO_RATE if kind == "audio" else len(content.jpegs) / stream.rate
            if steps:
                assert abs(steps * hop - seconds) <= 0.06 + hop


def test_empty_input_is_absent_and_nothing_else_is(name, extracted):
    absent = {utt_id for utt_id, steps in zip(extracted.ids, extracted.lengths(), strict=True) if not steps}
    empty = {"e_absent_00", "g_never_seen_00", "h_white_space_00"} & set(extracted.ids)
    assert absent == (set(extracted.ids) if name == "absent" else empty)


def test_what_is_not_present_is_zero(extracted):
    assert not extracted.whole("values")[~extracted.whole("present")].any()


def test_second_run_gives_the_same_bytes(name, extracted, streams, run, tmp_path):
    kind = reads(name)
    run(streams[kind], tmp_path / "again.h5", name, kind)
    assert (tmp_path / "again.h5").read_bytes() == extracted.path.read_bytes()


def test_features_do_not_depend_on_order_or_neighbours(name, extracted, streams):
    kind = reads(name)
    with READERS[kind](streams[kind]) as stream:
        extractor = build(name, stream)
        there = [utt_id for utt_id, steps in zip(extracted.ids, extracted.lengths(), strict=True) if steps]
        backwards = extractor.extract(stream, there[::-1])[::-1]
        for utt_id, together in zip(there, backwards, strict=True):
            alone = extractor.extract(stream, [utt_id])[0]
            # A network may round differently for another batch size on another machine; arithmetic per clip may not.
            tolerance = 0.0 if extractor.weights_sha256 is None else 1e-5
            np.testing.assert_allclose(together.values, alone.values, rtol=0, atol=tolerance)
            np.testing.assert_allclose(extracted.row(utt_id)[0], alone.values, rtol=0, atol=tolerance)


def test_provenance_is_complete(name, extracted, streams):
    kind = reads(name)
    options = registry.load("extractors", name).Options()
    with READERS[kind](streams[kind]) as stream:
        found = extracted.provenance
        extractor = build(name, stream)
        assert found.extractor == name
        assert found.version == extractor.version
        assert found.version.endswith(f"{name} 1")
        assert found.options == json.loads(options.model_dump_json())
        assert (found.dim, found.hop, found.weights_sha256) == (extractor.dim, extractor.hop, extractor.weights_sha256)
        assert found.source_sha256 == stream.content_sha256
        assert found.random_weights is False
        assert found.modality in {"text", "audio", "vision"}


def test_unknown_option_is_refused_with_its_place_and_what_is_known(name, streams, run, tmp_path):
    known = list(registry.load("extractors", name).Options.model_fields)
    wrong = known[0] + "x"
    with pytest.raises(ParamsError) as caught:
        run(streams[reads(name)], tmp_path / "s.h5", name, reads(name), {wrong: 1})
    assert str(caught.value) == (
        f"params.yaml: features.tested.options.{name}.{wrong}: unknown key, did you mean '{known[0]}'?"
    )


def test_importing_an_extractor_is_cheap(name):
    """Options are read without starting the toolkits; fresh interpreter, since other tests import them all."""
    heavy = {"torch", "transformers", "librosa", "opensmile", "cv2", "numba", "pandas"}
    code = f"import sys, pipeline.extractors.{name}; print(*sorted({heavy!r} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
