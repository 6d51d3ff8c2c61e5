"""openSMILE by its C interface: one recording leaves no trace in the next."""

import numpy as np
import pytest

from pipeline.extraction.smile import Smile

CASES = {
    "silence": np.zeros(4000, np.int16),
    "full scale": np.where(np.arange(4000) % 90 < 45, 32767, -32768).astype(np.int16),
    "shortest": np.full(960, 1200, np.int16),
}


@pytest.mark.parametrize("level", ["lld", "functionals"])
@pytest.mark.parametrize("feature_set", ["eGeMAPSv02", "ComParE_2016"])
def test_results_do_not_depend_on_what_ran_before(feature_set, level, make_voice):
    recordings = [*CASES.values(), make_voice(0.4), make_voice(0.3, 220.0)]
    alone = [Smile(feature_set, level).run(pcm) for pcm in recordings]
    smile = Smile(feature_set, level)
    for order in ([0, 1, 2, 3, 4], [4, 1, 3, 0, 2]):
        for k in order:
            np.testing.assert_array_equal(smile.run(recordings[k]), alone[k])


@pytest.mark.parametrize("level", ["lld", "functionals"])
@pytest.mark.parametrize("feature_set", ["eGeMAPSv02", "ComParE_2016"])
@pytest.mark.parametrize("case", CASES)
def test_extreme_recordings_give_finite_numbers(feature_set, level, case):
    values = Smile(feature_set, level).run(CASES[case])
    assert len(values)
    assert np.isfinite(values).all()


def test_nothing_is_written_beside_the_process(tmp_path, monkeypatch, capfd, make_voice):
    monkeypatch.chdir(tmp_path)
    Smile("eGeMAPSv02", "lld").run(make_voice(0.2))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
