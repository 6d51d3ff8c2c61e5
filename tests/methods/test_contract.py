"""The method contract, over every file of pipeline/methods and over variants that take other paths through them."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from safetensors.torch import load, save
from torch import Tensor

from pipeline import registry
from pipeline.data.batch import MODALITIES, MODALITY_SETS, Batch
from pipeline.data.dataset import Dataset
from pipeline.data.reencoding import Reencoder
from pipeline.data.spec import Spec
from pipeline.errors import ParamsError
from pipeline.methods.protocol import Method, build, not_applicable, variants
from pipeline.training.params import NeuralParams
from pipeline.training.run import Run
from tests.networks import keep_only, kept

SMALL: dict[str, dict[str, Any]] = {
    "intra_attention": {
        "text_steps": 8, "audio_steps": 14, "audio_out": 6, "vision_steps": 5, "vision_out": 4,
        "hidden": 6, "heads": 3, "bottleneck": 8, "epochs": 15, "learning_rate": 0.01, "batch_size": 12,
    },
    "mct_hfr": {
        "width": 8, "heads": 2, "layers": 2, "ffn": 16, "lfi_depth": 1, "ramp_epochs": 1,
        "epochs": 15, "learning_rate": 0.01, "batch_size": 12,
    },
    "mult": {
        "width": 8, "heads": 2, "layers": 1, "ffn_factor": 2, "aggregator_layers": 1,
        "epochs": 15, "learning_rate": 0.01, "batch_size": 12,
    },
    "misa": {"width": 64, "lstm_layers": 1, "ffn": 32, "epochs": 15, "learning_rate": 0.001, "batch_size": 12},
    "pmr": {"width": 8, "heads": 2, "layers": 2, "ffn": 16, "epochs": 15, "learning_rate": 0.01, "batch_size": 12},
    "chfn": {"width": 8, "heads": 2, "layers": 2, "ffn": 16, "epochs": 15, "learning_rate": 0.01, "batch_size": 12},
    "tfr_net": {
        "width": 8, "heads": 2, "layers": 1, "ffn_factor": 2, "pooled": 4, "reconstruction_layers": 1,
        "regime": "dynamic", "ramp_epochs": 1, "epochs": 15, "learning_rate": 0.01, "batch_size": 12,
    },
    "emt_dlfr": {
        "width": 8, "heads": 2, "layers": 2, "ffn": 16, "epochs": 15, "learning_rate": 0.01, "batch_size": 12,
    },
    "mlp": {"hidden": (16,), "epochs": 40, "learning_rate": 0.01, "batch_size": 8},
    "linear": {"epochs": 40, "learning_rate": 0.01, "batch_size": 8},
}  # fmt: skip
"""Widths and epochs that make the suite quick; a method that is not here is tested with its defaults."""

ALSO: dict[str, dict[str, Any]] = {
    "intra_attention:moddrop": {"regime": "moddrop"},
    "intra_attention:neighbours": {"filler": "neighbours", "neighbours": {"k": 3}},
    "intra_attention:masked": {"mask_padding": True, "audio_out": None},
    "mct_hfr:code": {"preset": "code"},
    "mct_hfr:complete": {"regime": "complete"},
    "mult:transposed": {"aggregator": "transposed"},
    "mult:original": {"form": "original"},
    "pmr:attention": {"hub_update": "attention"},
    "pmr:linear": {"head": "linear", "kernels": {"audio": 3, "vision": 3}},
    "tfr_net:complete": {"regime": "complete"},
    "tfr_net:original": {"form": "original", "units": {"text": 4, "audio": 3, "vision": 5}, "hidden": 8},
    "chfn:skip": {"pe_skip_zero": True, "beta": 0.5},
    "misa:dynamic": {"regime": "dynamic", "ramp_epochs": 1},
    "misa:task": {"difference_weight": 0.0, "similarity_weight": 0.0, "reconstruction_weight": 0.0},
    "misa:original": {"form": "original"},
    "emt_dlfr:dynamic": {"regime": "dynamic", "ramp_epochs": 1},
    "emt_dlfr:one_to_one": {"regime": "one_to_one", "attraction": 0.0},
    "emt_dlfr:original": {"form": "original", "regime": "dynamic", "ramp_epochs": 1},
    "emt_dlfr:unshared": {"form": "original", "share": "none"},
    "mct_hfr:mct": {"lfi": False, "gfa": False},
    "mlp:mean": {"filler": "mean"},
    "mlp:moddrop": {"regime": "moddrop"},
    "mlp:uniform": {"filler": "uniform"},
    "mlp:gaussian_mixture": {"filler": "gaussian_mixture"},
    "mlp:gan": {"filler": "gan", "gan": {"latent": 3, "epochs": 2}, "votes": 5},
    "mlp:tanh": {"filler": "gan", "gan": {"latent": 3, "epochs": 2, "output": "tanh"}, "votes": 1, "splice": False},
    "mlp:vae": {"filler": "vae", "vae": {"latent": 3, "hidden": 8, "epochs": 2}, "votes": 5},
    "mlp:neighbours": {"filler": "neighbours", "neighbours": {"k": 3}},
    "linear:gan": {"filler": "gan", "gan": {"latent": 3, "epochs": 2}, "votes": 5},
}

CONSTANT = {"majority"}
"""Methods that never look at the input."""

METHODS = registry.names("methods")
CASES = sorted([*METHODS, *ALSO])


def make_method(case: str, data: Dataset, seed: int = 0, **override: Any) -> Method:
    """An untrained method; `case` is a method or one of ALSO."""
    name = case.partition(":")[0]
    (variant,) = variants(name, {**SMALL.get(name, {}), **ALSO.get(case, {}), **override})
    spec = Spec.of(data)
    reason = not_applicable(variant, spec)
    if reason:
        pytest.skip(f"{case} {reason}")
    torch.manual_seed(seed)
    return build(variant, spec)


def fit(case: str, data: Dataset, seed: int = 0) -> Method:
    method = make_method(case, data, seed)
    method.fit(data, None, Run(("test",)))
    return with_filler(method, data)


def begin(case: str, data: Dataset, seed: int = 0) -> Method:
    """A method after so little training that no probability is near 0 or 1, where differences would not show."""
    neural = issubclass(registry.load("methods", case.partition(":")[0]).Params, NeuralParams)
    method = make_method(case, data, seed, **({"epochs": 2} if neural else {}))
    method.fit(data, None, Run(("test",)))
    return with_filler(method, data)


def with_filler(method: Any, data: Dataset) -> Method:
    """The method after its filler, if it has one, was fitted: another job of the train stage."""
    if hasattr(method, "fit_filler"):
        method.fit_filler(data, Run(("test",)))
    return method


def everyone(data: Dataset) -> Tensor:
    return torch.arange(len(data))


def keep_at(data: Dataset, share: float) -> dict[str, Tensor]:
    """Keep masks, the same every time: each step stays with probability `share`."""
    return kept(data, share, torch.Generator().manual_seed(1))


def scores(method: Method, batch: Batch) -> Tensor:
    """Predict, and check what holds for every prediction."""
    found = method.predict(batch).scores
    assert found.shape == (len(batch), 3)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(len(batch)))
    return found


@pytest.fixture(scope="module")
def fitted(data: Dataset) -> Callable[[str], Method]:
    """A trained method per case, made once."""
    made: dict[str, Method] = {}
    return lambda case: made[case] if case in made else made.setdefault(case, begin(case, data))


def changed(before: Tensor, after: Tensor) -> float:
    return (before - after).abs().max().item()


def other(info: FieldInfo, value: Any) -> Any:
    """A value that is not `value` and that the field admits."""
    choices = [choice for choice in get_args(info.annotation) if isinstance(choice, str) and choice != value]
    if choices:
        return choices[0]
    if isinstance(value, BaseModel):
        return {name: other(field, getattr(value, name)) for name, field in type(value).model_fields.items()}
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 0.5 * value + 0.05


@pytest.mark.parametrize("case", CASES)
def test_a_parameter_that_a_training_never_looks_at_changes_nothing(case, data):
    params = make_method(case, data).params if case not in CONSTANT else None
    if params is None or not params.idle():
        pytest.skip(f"{case} looks at all its parameters")
    expected = begin(case, data).state()
    fields = type(params).model_fields
    free = [name for name in params.idle() if get_args(fields[name].annotation) != (getattr(params, name),)]
    changed = {name: other(fields[name], getattr(params, name)) for name in free}
    method = make_method(case, data, epochs=2, **changed)
    method.fit(data, None, Run(("test",)))
    found = with_filler(method, data).state()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], x) for name, x in expected.items())


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_finite_probabilities_with_and_without_masks(case, data, fitted):
    for keep in (None, keep_at(data, 0.5)):
        scores(fitted(case), data.batch(everyone(data), keep))


@pytest.mark.parametrize("case", [case for case in CASES if case not in CONSTANT])
def test_observed_values_influence_the_prediction(case, data, fitted):
    batch = data.batch(everyone(data))
    moved = replace(batch, features={m: x + 1 for m, x in batch.features.items()})
    assert changed(scores(fitted(case), batch), scores(fitted(case), moved)) > 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if case not in CONSTANT])
def test_text_encoded_anew_reaches_the_prediction_and_the_words_that_it_lacks_do_not(case, data, fitted):
    name = case.partition(":")[0]
    if get_args(registry.load("methods", name).Params.model_fields["text_missing"].annotation) == ("zero",):
        with pytest.raises(ParamsError, match=rf"methods\.{name}\.text_missing: found .unk., expected 'zero'"):
            variants(name, {"text_missing": "unk"})
        return
    (keep, text), method = (keep_at(data, 0.5), data.columns["text"]), fitted(case)
    words = (
        torch.arange(len(text.values)) + 2
    )  # every step is a word of its own, 0 stands for any, and 1 frames nothing
    table = torch.cat([torch.full((2, 6), -3.0), text.values]).numpy()
    own = Reencoder(lambda texts: [table[ids] + table[ids].mean(0) for ids in texts], unknown=0, framing=(1,))
    found = []
    for stored in (text.values, text.values.masked_fill(~keep["text"][:, None], 1e6)):
        column = replace(text, values=stored, tokens=words, reencoder=own)
        batch = replace(data, columns=data.columns | {"text": column}).batch(everyone(data), keep)
        found.append(scores(method, batch))
    assert torch.equal(*found)
    assert changed(scores(method, data.batch(everyone(data), keep)), found[0]) > 1e-3


@pytest.mark.parametrize("value", [1e6, -1e6])
@pytest.mark.parametrize("case", CASES)
def test_unobserved_values_cannot_influence_the_prediction(case, value, data, fitted):
    keep = keep_at(data, 0.5)
    garbage = {
        m: replace(column, values=column.values.masked_fill(~(keep[m] & column.present)[:, None], value))
        for m, column in data.columns.items()
    }
    method = fitted(case)
    clean = scores(method, data.batch(everyone(data), keep))
    assert torch.equal(clean, scores(method, replace(data, columns=garbage).batch(everyone(data), keep)))


@pytest.mark.parametrize("case", CASES)
def test_padded_values_cannot_influence_the_prediction(case, data, fitted):
    batch = data.batch(everyone(data), keep_at(data, 0.5))
    clean = dict(batch.features)  # with rows for padding, so that products round alike
    features = {m: x.masked_fill(~batch.valid[m].unsqueeze(-1), 1e6) for m, x in clean.items()}
    assert any((x == 1e6).any() for x in features.values())
    found, expected = (scores(fitted(case), replace(batch, features=x)) for x in (features, clean))
    assert torch.equal(found, expected)
    assert changed(expected, scores(fitted(case), batch)) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_more_padding_does_not_change_predictions(case, data, fitted):
    lengths = torch.stack([column.lengths for column in data.columns.values()]).amax(0)
    shortest, longest = lengths.argsort()[:6], lengths.argmax()[None]
    assert longest not in shortest
    alone = scores(fitted(case), data.batch(shortest))
    together = scores(fitted(case), data.batch(torch.cat([shortest, longest])))
    torch.testing.assert_close(together[:-1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_an_utterance_is_predicted_alike_alone_and_among_others(case, data, fitted):
    keep = keep_at(data, 0.7)
    together = scores(fitted(case), data.batch(everyone(data), keep))
    alone = [scores(fitted(case), data.batch(row[None], keep)) for row in everyone(data)]
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_utterances_is_irrelevant(case, data, fitted):
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(2))
    straight = scores(fitted(case), data.batch(everyone(data)))
    torch.testing.assert_close(scores(fitted(case), data.batch(order)), straight[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_every_modality_set_works(case, data, fitted):
    for modalities in MODALITY_SETS.values():
        scores(fitted(case), data.batch(everyone(data), keep_only(data, *modalities)))


@pytest.mark.parametrize("case", CASES)
def test_an_utterance_with_nothing_observed_has_a_finite_prediction(case, data, fitted):
    nothing = keep_only(data)
    scores(fitted(case), data.batch(everyone(data), nothing))
    scores(fitted(case), data.batch(torch.tensor([0]), nothing))


@pytest.mark.parametrize("case", CASES)
def test_an_utterance_without_a_single_step_has_a_finite_prediction(case, data, fitted):
    empty = torch.tensor([4])
    batch = data.batch(empty)
    assert all(batch.features[m].shape[1] == 0 for m in MODALITIES)
    alone = scores(fitted(case), batch)
    among = scores(fitted(case), data.batch(torch.tensor([0, 4])))
    torch.testing.assert_close(among[1:], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_utterances_of_one_step_can_be_learned_from_and_predicted_alone(case, make):
    short = make(n=6, steps=1, whole=True)
    scores(begin(case, short), short.batch(torch.tensor([0])))


@pytest.mark.parametrize("lacking", [("text",), ("audio",), ("vision",), ("audio", "vision")], ids="+".join)
@pytest.mark.parametrize("case", CASES)
def test_a_benchmark_that_lacks_modalities_works(case, lacking, make):
    poor = make(lacking=lacking)
    scores(begin(case, poor), poor.batch(everyone(poor)))


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(case, data, make):
    batch = make(seed=5).batch(everyone(data))
    first, second, other = (scores(begin(case, data, seed), batch) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    if case not in CONSTANT:
        assert not torch.equal(first, other)


@pytest.mark.parametrize("case", CASES)
def test_a_state_survives_storage(case, data, fitted):
    batch = data.batch(everyone(data), keep_at(data, 0.5))
    other = make_method(case, data, seed=8)
    other.load(load(save(fitted(case).state())))
    assert torch.equal(scores(fitted(case), batch), scores(other, batch))


@pytest.mark.parametrize("case", CASES)
def test_prediction_has_no_chance_in_it(case, data, fitted):
    method, batch = fitted(case), data.batch(everyone(data), keep_at(data, 0.5))
    if method.network is not None:
        method.network.train()
    before = torch.random.get_rng_state()
    first = scores(method, batch)
    assert torch.equal(first, scores(method, batch))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("case", CASES)
def test_it_learns_what_can_be_told_apart(case, make):
    easy = make(n=48, whole=True)
    found = scores(fit(case, easy), easy.batch(everyone(easy)))
    accuracy = (found.argmax(-1) == easy.labels).float().mean().item()
    if case in CONSTANT:
        assert accuracy == pytest.approx(1 / 3)
    else:
        assert accuracy > 0.95


@pytest.mark.parametrize("case", CASES)
def test_training_reaches_every_parameter(case, data):
    probe = make_method(case, data)
    if not isinstance(getattr(probe, "params", None), NeuralParams):
        assert probe.network is None
        return
    method = make_method(case, data, epochs=3, weight_decay=0.0)  # decay would move what no gradient reaches
    before = {name: x.detach().clone() for name, x in method.network.named_parameters()}
    method.fit(data, None, Run(("test",)))
    still = [name for name, x in method.network.named_parameters() if torch.equal(before[name], x)]
    assert not still
    assert all(torch.isfinite(x).all() for x in method.network.parameters())


@pytest.mark.parametrize("case", CASES)
def test_validation_selects_an_epoch_and_the_history_is_json(case, data, make):
    method = make_method(case, data)
    history = method.fit(data, make(seed=6), Run(("test",)))
    assert json.loads(json.dumps(history, allow_nan=False)) == history


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_parameter_is_refused_with_a_suggestion(name):
    with pytest.raises(ParamsError) as error:
        variants(name, {"regmie": "complete", "variants": {"other": {"p_mis": 0.1}}})
    assert f"methods.{name}.regmie: unknown key, did you mean 'regime'?" in str(error.value)
    assert f"methods.{name}.variants.other.p_mis: unknown key, did you mean 'p_miss'?" in str(error.value)


@pytest.mark.parametrize("name", METHODS)
def test_a_value_of_the_wrong_type_is_refused(name):
    with pytest.raises(ParamsError, match=rf"methods\.{name}\.p_miss: found .much."):
        variants(name, {"p_miss": "much"})


@pytest.mark.parametrize("name", METHODS)
def test_the_file_says_its_source_and_how_it_departs(name):
    text = registry.load("methods", name).__doc__
    for part in ("https?://", "Follows:", "Differs:", "Handles absence by:"):
        assert re.search(part, text), part


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_explained(name):
    params = registry.load("methods", name).Params
    explained = "".join(parent.__doc__ or "" for parent in params.__mro__)
    assert [field for field in params.model_fields if f"\n        {field}: " not in explained] == []


@pytest.mark.parametrize("name", METHODS)
def test_importing_one_method_touches_no_other(name):
    closure = {path.stem for path in registry.import_closure(f"pipeline.methods.{name}") if path.parts[1] == "methods"}
    assert closure & set(METHODS) == {name}
