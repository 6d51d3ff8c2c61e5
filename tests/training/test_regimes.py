"""Regimes: what training drops, counted."""

import math
from collections.abc import Callable

import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.training.params import MethodParams
from pipeline.training.regimes import epoch_masks, repeated, validation_masks
from pipeline.training.run import Run

Make = Callable[..., Dataset]
RUN = Run(("test", 1))
LONG = {m: [300 + 10 * i for i in range(23)] for m in MODALITIES}


def masked_utterances(data: Dataset, keep: dict[str, torch.Tensor]) -> set[int]:
    return {
        int(torch.searchsorted(column.offsets, step, right=True)) - 1
        for m, column in data.columns.items()
        for step in torch.nonzero(~keep[m]).ravel()
    }


def test_complete_training_masks_nothing(make_data: Make) -> None:
    data, params = make_data(10), MethodParams(regime="complete")
    assert epoch_masks(params, data, RUN)(1) is None
    assert validation_masks(params, data, RUN) is None


@pytest.mark.parametrize("ramp", [1, 2, 5])
def test_the_share_of_masked_utterances_grows_exactly_along_the_ramp(make_data: Make, ramp: int) -> None:
    data = make_data(LONG)
    masks = epoch_masks(MethodParams(regime="dynamic", p_miss=0.5, ramp_epochs=ramp), data, RUN)
    for epoch in range(1, ramp + 3):
        share = 1.0 if ramp == 1 else min(1.0, (epoch - 1) / (ramp - 1))
        keep = masks(epoch)
        assert keep is not None
        assert len(masked_utterances(data, keep)) == math.ceil(round(share * 23, 6))


def test_the_steps_of_masked_utterances_are_dropped_at_the_rate_within_3_sigma(make_data: Make) -> None:
    data = make_data(LONG)
    keep = epoch_masks(MethodParams(regime="dynamic", p_miss=0.3, ramp_epochs=1), data, RUN)(1)
    assert keep is not None
    for column in keep.values():
        assert abs((~column).float().mean().item() - 0.3) <= 3 * math.sqrt(0.21 / len(column))


@pytest.mark.parametrize(("rate", "kept"), [(0.0, True), (1.0, False)])
def test_rate_0_drops_nothing_and_rate_1_everything(make_data: Make, rate: float, kept: bool) -> None:
    keep = epoch_masks(MethodParams(regime="dynamic", p_miss=rate, ramp_epochs=1), make_data(10), RUN)(1)
    assert keep is not None
    assert all((column == kept).all() for column in keep.values())


def test_masks_are_those_of_the_run_and_new_in_every_epoch(make_data: Make) -> None:
    data, params = make_data(LONG), MethodParams(regime="dynamic", p_miss=0.5, ramp_epochs=1)
    one, again, other = (epoch_masks(params, data, run) for run in (RUN, Run(("test", 1)), Run(("test", 2))))
    first, second, foreign = one(1), one(2), other(1)
    assert first is not None
    assert second is not None
    assert foreign is not None
    for epoch, keep in ((1, first), (2, second)):
        assert {m: x.tolist() for m, x in (again(epoch) or {}).items()} == {m: x.tolist() for m, x in keep.items()}
    for m in MODALITIES:
        assert not torch.equal(first[m], second[m])
        assert not torch.equal(first[m], foreign[m])


def test_masks_are_independent_across_modalities(make_data: Make) -> None:
    keep = epoch_masks(MethodParams(regime="dynamic", p_miss=0.5, ramp_epochs=1), make_data(LONG), RUN)(1)
    assert keep is not None
    correlation = torch.corrcoef(torch.stack([keep[m].float() for m in MODALITIES]))
    assert (correlation - torch.eye(3)).abs().max() < 4 / math.sqrt(len(keep["text"]))


def test_validation_masks_stay_the_same_and_mask_everyone(make_data: Make) -> None:
    data, params = make_data(LONG), MethodParams(regime="dynamic", p_miss=0.5, ramp_epochs=5)
    one, other = validation_masks(params, data, RUN), validation_masks(params, data, RUN)
    assert one is not None
    assert other is not None
    assert all(torch.equal(one[m], other[m]) for m in MODALITIES)
    assert len(masked_utterances(data, one)) == 23


def test_masks_do_not_touch_the_global_generator(make_data: Make) -> None:
    state = torch.get_rng_state()
    epoch_masks(MethodParams(regime="dynamic"), make_data(10), RUN)(3)
    assert torch.equal(state, torch.get_rng_state())


MODDROP = MethodParams(regime="moddrop")


def test_moddrop_has_every_utterance_complete_and_without_each_modality_in_turn(make_data: Make) -> None:
    data = make_data(10)
    shown = repeated(MODDROP, data)
    assert len(shown) == 40
    assert shown.ids == data.ids * 4
    assert torch.equal(shown.labels, data.labels.repeat(4))
    for masks in (epoch_masks(MODDROP, shown, RUN)(3), validation_masks(MODDROP, shown, RUN)):
        assert masks is not None
        for place, missing in enumerate([None, *MODALITIES]):
            batch = shown.batch(torch.arange(10 * place, 10 * place + 10), masks)
            for m in MODALITIES:
                assert torch.equal(batch.observed[m], batch.present[m] & (m != missing))


def test_moddrop_leaves_out_only_what_a_benchmark_has(make_data: Make) -> None:
    pair = make_data({"text": [0] * 6, "audio": [4] * 6, "vision": [3] * 6})
    assert len(repeated(MODDROP, pair)) == 18
    alone = make_data({"text": [0] * 6, "audio": [4] * 6, "vision": [0] * 6})
    assert len(repeated(MODDROP, alone)) == 6
    keep = epoch_masks(MODDROP, alone, RUN)(1)
    assert keep is not None
    assert keep["audio"].all()


@pytest.mark.parametrize("regime", ["complete", "dynamic"])
def test_other_regimes_show_every_utterance_once(make_data: Make, regime: str) -> None:
    data = make_data(5)
    assert repeated(MethodParams(regime=regime), data) is data


def test_one_to_one_drops_the_same_steps_of_everyone_in_every_epoch(make_data: Make) -> None:
    data, params = make_data(LONG), MethodParams(regime="one_to_one", p_miss=0.4)
    masks = epoch_masks(params, data, RUN)
    first, later = masks(1), masks(7)
    assert first is not None
    assert later is not None
    assert len(masked_utterances(data, first)) == 23
    for m in MODALITIES:
        assert torch.equal(first[m], later[m])
        assert abs((~first[m]).float().mean().item() - 0.4) <= 3 * math.sqrt(0.24 / len(first[m]))


def test_one_to_one_at_rate_0_is_complete_training(make_data: Make) -> None:
    data, params = make_data(10), MethodParams(regime="one_to_one", p_miss=0.0)
    assert epoch_masks(params, data, RUN)(1) is None
    assert validation_masks(params, data, RUN) is None
