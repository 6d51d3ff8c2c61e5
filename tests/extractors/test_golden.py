"""Numeric regression: a few numbers of every extractor on generated input.

Measured on 2026-11-21 with opensmile 2.6.0, opencv 4.14.0 and transformers 5.23.0 with torch 2.13.0.
"""

import numpy as np
import pytest

GOLDEN = {
    "egemaps": ("audio", "a_voice_00", (99, 25), {0: 0.9872767, 6: 48.2523232, 10: 25.4777718, 11: 0.00967508461}),
    "mfcc": ("audio", "a_voice_00", (104, 120), {0: -337.09494, 1: 191.761047, 5: -3.06156802, 11: 1.11176789}),
    "hog_face": ("faces", "a_faces_00", (5, 324), {0: 0.0771638379, 2: 0.246403247, 9: 0.248630688}),
    "minilm": ("text", "a_sentence_00", (10, 384), {0: -0.530681908, 1: 0.0601320677, 5: 0.589633107}),
}


@pytest.mark.parametrize("extractor", GOLDEN)
def test_means_over_time_are_those_measured_before(extractor, streams, run, tmp_path):
    kind, utt_id, shape, means = GOLDEN[extractor]
    with run(streams[kind], tmp_path / "store.h5", extractor, kind) as store:
        values, _ = store.row(utt_id)
    assert values.shape == shape
    np.testing.assert_allclose(values.mean(0)[list(means)], list(means.values()), rtol=2e-3)
