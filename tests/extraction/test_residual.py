"""ResNets: parameter counts of the papers, names of torchvision, strict loading, folding that changes no number."""

import copy
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import DataError
from pipeline.extraction.convolution import fold_norms
from pipeline.extraction.residual import BLOCKS, ResNet, build_resnet
from pipeline.extraction.states import load_weights

CLASSIFIER = 2048 * 1000 + 1000
SMALL = (1, 1, 1, 1)


def unsettled(network: torch.nn.Module) -> torch.nn.Module:
    """Norms as if trained: no scale, offset, mean or variance is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(("depth", "parameters"), [(50, 25_557_032), (101, 44_549_160)])
@pytest.mark.parametrize("caffe", [False, True])
def test_parameters_are_those_of_the_paper_with_a_classifier_of_1000(depth, parameters, caffe):
    with torch.device("meta"):
        network = ResNet(BLOCKS[depth], caffe=caffe)
    assert sum(p.numel() for p in network.parameters()) + CLASSIFIER == parameters


def test_names_are_those_of_torchvision():
    with torch.device("meta"):
        names = set(ResNet(BLOCKS[50], caffe=False).state_dict())
    norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    expected = {"conv1.weight"} | {f"bn1.{name}" for name in norm}
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            place = f"layer{stage}.{block}"
            expected |= {f"{place}.conv{k}.weight" for k in (1, 2, 3)}
            expected |= {f"{place}.bn{k}.{name}" for k in (1, 2, 3) for name in norm}
        place = f"layer{stage}.0.downsample"
        expected |= {f"{place}.0.weight"} | {f"{place}.1.{name}" for name in norm}
    assert names == expected


@pytest.mark.parametrize("caffe", [False, True])
def test_last_map_of_224_pixels_is_7_by_7(caffe):
    network, sizes = ResNet(SMALL, caffe=caffe), []
    network.layer4.register_forward_hook(lambda module, given, output: sizes.append(tuple(output.shape)))
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 2048)
    assert sizes == [(1, 2048, 7, 7)]


def test_caffe_has_the_stride_in_the_first_convolution():
    strides = {caffe: ResNet(SMALL, caffe=caffe).layer2[0] for caffe in (False, True)}
    assert (strides[True].conv1.stride, strides[True].conv2.stride) == ((2, 2), (1, 1))
    assert (strides[False].conv1.stride, strides[False].conv2.stride) == ((1, 1), (2, 2))


def test_folding_norms_changes_no_number_and_leaves_none():
    network = unsettled(ResNet(SMALL, caffe=True))
    folded = fold_norms(copy.deepcopy(network))
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = network(pictures)
    torch.testing.assert_close(folded(pictures), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_norm_without_a_convolution_is_refused():
    with pytest.raises(ValueError, match="1 of Sequential follows no convolution"):
        fold_norms(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.BatchNorm2d(3)))


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    state = unsettled(ResNet(SMALL, caffe=False)).state_dict()
    return {**state, "fc.weight": torch.zeros(10, 2048), "fc.bias": torch.zeros(10)}


@pytest.mark.parametrize("form", ["safetensors", "pth", "nested"])
def test_weights_come_from_safetensors_or_torch(trained, form, tmp_path):
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(trained, path)
    else:
        torch.save({"state_dict": trained, "epoch": 3} if form == "nested" else trained, path)
    network = ResNet(SMALL, caffe=False)
    load_weights(network, path, "a model", "get it", unused=("fc.",))
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, trained[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": None}, r"w\.pth: weights without conv1\.weight, expected a model; get it$"),
        ({"layer5": 1}, r"w\.pth: weights with unknown layer5, expected"),
        ({f"x{k}": 1 for k in range(9)}, r"with unknown x0, x1, x2 and 6 more, expected"),
        ({"conv1.weight": 1}, r"with another shape of conv1\.weight, expected a model"),
    ],
)
def test_weights_of_something_else_say_what_differs(trained, change, message, tmp_path):
    state = {**trained, **{name: torch.zeros(size or 0) for name, size in change.items()}}
    torch.save({name: tensor for name, tensor in state.items() if tensor.numel()}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=message):
        load_weights(ResNet(SMALL, caffe=False), tmp_path / "w.pth", "a model", "get it", unused=("fc.",))


def test_pickle_of_arrays_is_not_opened(tmp_path):
    path = tmp_path / "resnet50_ft_weight.pkl"
    path.write_bytes(pickle.dumps({"conv1.weight": np.zeros(3)}, protocol=2))
    with pytest.raises(
        DataError, match=r"ft_weight\.pkl: neither safetensors nor tensors .*, expected a model; convert"
    ):
        build_resnet(50, path, "a model", "convert it")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}])
def test_file_without_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w\.pth: a (list|dict) that is not names and tensors, expected a model"):
        load_weights(ResNet(SMALL, caffe=False), tmp_path / "w.pth", "a model", "get it")


def test_damaged_safetensors_are_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"w\.safetensors: neither safetensors nor"):
        load_weights(ResNet(SMALL, caffe=False), tmp_path / "w.safetensors", "a model", "get it")
