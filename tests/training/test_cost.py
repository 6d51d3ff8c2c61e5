"""What a method costs, counted by hand on a network that is easy to count."""

from collections.abc import Callable

import torch

from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.methods.protocol import build, variants
from pipeline.training.cost import multiply_accumulates, parameters, peak_memory_mib

Make = Callable[..., Dataset]


def test_parameters_and_operations_of_an_mlp_are_those_of_its_layers(make_data: Make) -> None:
    spec = Spec.of(make_data(8))  # 3 + 2 + 2 features, 2 classes
    (variant,) = variants("mlp", {"hidden": (5,)})
    method = build(variant, spec)
    assert parameters(method) == 2 * 7 + (7 * 5 + 5) + (5 * 2 + 2)
    assert multiply_accumulates(method, spec) == 7 * 5 + 5 * 2


def test_a_method_without_a_network_costs_nothing(make_data: Make) -> None:
    spec = Spec.of(make_data(8))
    (variant,) = variants("majority", {})
    method = build(variant, spec)
    assert parameters(method) == 0
    assert multiply_accumulates(method, spec) == 0


def test_parameters_that_are_not_trained_are_not_counted(make_data: Make) -> None:
    spec = Spec.of(make_data(8))
    (variant,) = variants("mlp", {"hidden": (5,)})
    method = build(variant, spec)
    assert method.network is not None
    next(method.network.parameters()).requires_grad_(False)
    assert parameters(method) == 59


def test_peak_memory_is_that_of_this_process() -> None:
    before = peak_memory_mib(torch.device("cpu"))
    block = bytearray(int(2**20 * (before + 50)))
    assert peak_memory_mib(torch.device("cpu")) >= before + 40
    assert 20 < before < 2**17
    del block
