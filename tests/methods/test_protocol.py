"""Rows of a table: how a block of params.yaml becomes variants, and what a benchmark cannot give."""

from typing import Any

import pytest

from pipeline import registry
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.errors import ParamsError
from pipeline.methods.protocol import Needs, models, variants
from pipeline.training.params import NeuralParams

MODALITIES = ("text", "audio", "vision")


def problems(method: str, block: dict[str, Any]) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        variants(method, block)
    return str(caught.value).splitlines()


def test_a_block_gives_itself_and_its_variants_in_order() -> None:
    rows = variants("mlp", {"epochs": 3, "variants": {"mean": {"filler": "mean"}, "long": {"epochs": 9}}})
    assert [(row.row, row.method, row.folder) for row in rows] == [
        ("mlp", "mlp", "base"),
        ("mlp:mean", "mlp", "mean"),
        ("mlp:long", "mlp", "long"),
    ]
    assert [(row.params.epochs, row.params.filler) for row in rows] == [(3, "zero"), (3, "mean"), (9, "zero")]


@pytest.mark.parametrize("none", [None, {}])
def test_a_block_may_have_no_variants(none: Any) -> None:
    assert [row.row for row in variants("majority", {"variants": none})] == ["majority"]


def test_training_depends_on_all_parameters_but_those_of_test_time() -> None:
    (row,) = variants("mlp", {"regime": "dynamic"})
    assert set(row.params.model_dump()) - set(row.training_params()) == {
        "filler", "votes", "splice", "gaussian_mixture", "gan", "vae", "neighbours",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "concerned"),
    [
        ({"alpha": 0.9}, {"mct_hfr", "mct_hfr:mct_gfa", "mct_hfr:modalities"}),
        ({"beta": 0.9}, {"mct_hfr", "mct_hfr:mct_lfi", "mct_hfr:modalities"}),
        ({"p_miss": 0.3}, {"mct_hfr", "mct_hfr:mct", "mct_hfr:mct_lfi", "mct_hfr:mct_gfa"}),
        ({"ramp_epochs": 2}, {"mct_hfr", "mct_hfr:mct", "mct_hfr:mct_lfi", "mct_hfr:mct_gfa"}),
    ],
)
def test_a_parameter_concerns_the_variants_that_look_at_it(changed: dict[str, float], concerned: set[str]) -> None:
    block = {
        "variants": {
            "complete": {"regime": "complete"},
            "mct": {"lfi": False, "gfa": False},
            "mct_lfi": {"gfa": False},
            "mct_gfa": {"lfi": False},
            "modalities": {"regime": "moddrop"},
        }
    }
    before, after = variants("mct_hfr", block), variants("mct_hfr", block | changed)
    differ = {a.row for a, b in zip(before, after, strict=True) if a.training_params() != b.training_params()}
    assert differ == concerned


def test_one_to_one_at_rate_0_is_the_complete_training() -> None:
    complete, each = variants("mct_hfr", {"regime": "complete", "variants": {"each": {"regime": "one_to_one"}}})
    by_rate = models(each, [0.0, 0.5])
    assert by_rate["@0.0"].training_params() == complete.training_params()
    assert by_rate["@0.5"].training_params() != complete.training_params()


def test_an_unknown_or_wrong_parameter_is_refused_wherever_it_stands() -> None:
    both = {"mean": {"filer": "mean"}, "x": {"epochs": 0}}
    assert problems("mlp", {"hiden": [3], "epochs": "9", "variants": both}) == [
        'params.yaml: methods.mlp.epochs: found "9", expected a whole number',
        "params.yaml: methods.mlp.hiden: unknown key, did you mean 'hidden'?",
        "params.yaml: methods.mlp.variants.mean.filer: unknown key, did you mean 'filler'?",
        "params.yaml: methods.mlp.variants.x.epochs: found 0, expected a value greater than 0",
    ]


def test_a_variant_that_breaks_a_parameter_it_does_not_name_is_refused_all_the_same() -> None:
    (line,) = problems("mct_hfr", {"variants": {"narrow": {"width": 30}}})
    assert line == (
        "params.yaml: methods.mct_hfr.variants.narrow.heads: found 4 heads for width 30, expected a divisor of the "
        "width"
    )


@pytest.mark.parametrize("name", ["base", "Mean", "a/b", "a.b", "", 3])
def test_a_variant_that_cannot_name_a_folder_of_its_own_is_refused(name: Any) -> None:
    (line,) = problems("mlp", {"variants": {name: {"filler": "mean"}}})
    assert "expected a name of small letters, digits and _, and not 'base'" in line


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["mean"], 'params.yaml: methods.mlp.variants: found ["mean"], expected a mapping of names'),
        ({"mean": "mean"}, 'params.yaml: methods.mlp.variants.mean: found "mean", expected a mapping of parameters'),
        ({"mean": None}, "params.yaml: methods.mlp.variants.mean: found null, expected a mapping of parameters"),
    ],
)
def test_variants_that_are_no_mapping_are_refused(value: Any, expected: str) -> None:
    assert problems("mlp", {"variants": value}) == [expected]


NEURAL = [name for name in registry.names("methods") if issubclass(registry.load("methods", name).Params, NeuralParams)]
ODD = {
    "epochs": 0, "batch_size": 0, "learning_rate": 0.0, "weight_decay": -0.1, "patience": 0, "clip_value": 0.0,
    "clip_norm": 0.0, "plateau_patience": 0, "decay_every": 0, "p_miss": 1.5, "ramp_epochs": 0, "optimizer": "sgd",
    "monitor": "f1", "regime": "none", "standardize": 1, "text_missing": "mask",
}  # fmt: skip


@pytest.mark.parametrize("method", NEURAL)
def test_the_defaults_of_a_method_loosen_no_bound(method: str) -> None:
    places = [line.split(": ")[1] for line in problems(method, ODD)]
    assert sorted(places) == sorted(f"methods.{method}.{name}" for name in ODD)
    assert set(ODD) == set(NeuralParams.model_fields)


def spec(available: tuple[str, ...], longest: int) -> Spec:
    return Spec(
        dims=dict.fromkeys(MODALITIES, 2),
        available=available,
        task=Task(("a", "b")),
        hops=dict.fromkeys(MODALITIES),
        max_lengths=dict.fromkeys(MODALITIES, longest),
    )


def test_what_a_benchmark_cannot_give_is_said() -> None:
    assert Needs().unmet(spec(("text",), 1)) is None
    assert Needs(modalities=2).unmet(spec(("text", "audio"), 1)) is None
    assert Needs(modalities=2).unmet(spec(("text",), 9)) == "needs 2 modalities, the benchmark has text"
    assert Needs().unmet(spec((), 9)) == "needs 1 modalities, the benchmark has none"
    assert Needs(steps=True).unmet(spec(MODALITIES, 2)) is None
    assert Needs(steps=True).unmet(spec(MODALITIES, 1)) == "needs sequences, the benchmark has one vector per utterance"
