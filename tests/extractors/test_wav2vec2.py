"""wav2vec 2.0 against transformers on small models of both kinds; weights, options, parameter counts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Model

from pipeline.errors import DataError, ParamsError
from pipeline.extraction.wav2vec2 import Transformer, untrained
from pipeline.extractors.wav2vec2 import ARCHITECTURES, Options, Wav2Vec2

SMALL = {
    "conv_dim": [16] * 7,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
KINDS = {
    "base": {},
    "large": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}
GOLDEN = [-0.3642827, -0.8096101, -0.4209416, -0.3375978]
"""Means over time of features 0, 1, 100 and 511 of the first clip, random base_960h, with torch 2.13.0."""
SAMPLES = [9000, 400, 719, 720, 9013, 3000]


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory) -> tuple[Wav2Vec2Model, Path]:
    """A small model with norms that do something, and its folder."""
    torch.manual_seed(3)
    model = Wav2Vec2Model(Wav2Vec2Config(**SMALL, **KINDS[request.param])).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return model, folder


@pytest.fixture
def copied(model, tmp_path) -> Path:
    """A copy of the folder, to be changed."""
    return Path(shutil.copytree(model[1], tmp_path / "copied"))


@pytest.fixture(scope="module")
def clips(make_voice) -> list[np.ndarray]:
    return [make_voice(1.0, 100.0 + 20 * k, k)[3000 : 3000 + samples] for k, samples in enumerate(SAMPLES)]


def extractor(weights: Path | str, **options: object) -> Wav2Vec2:
    chosen = {"architecture": None, "precision": "float32", **options}
    return Wav2Vec2(Options(**chosen), weights, {})


def features(made: Wav2Vec2, clips: list[np.ndarray]) -> list[np.ndarray]:
    return [found.values for found in made.extract([made.prepare("u", clip) for clip in clips])]


def theirs(model: Wav2Vec2Model, clip: np.ndarray, output: str, layers: int = 1) -> np.ndarray:
    """What transformers gives for one recording."""
    inputs = Wav2Vec2FeatureExtractor()(clip.astype(np.float32) / 32768, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        found = model(inputs.input_values, output_hidden_states=True)
    if output == "conv_ln":
        return found.extract_features[0].numpy()
    return torch.stack(found.hidden_states[-layers:]).mean(0)[0].numpy()


@pytest.mark.parametrize(("output", "layers"), [("conv_ln", 1), ("hidden", 1), ("hidden", 3)])
def test_values_are_those_of_transformers_in_any_batch(model, clips, monkeypatch, output, layers):
    monkeypatch.setenv("LACUNA_BATCH", "100")
    made = extractor(model[1], output=output, layers=layers)
    together = features(made, clips)
    for clip, values in zip(clips, together, strict=True):
        expected = theirs(model[0], clip, output, layers)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * scale)
        np.testing.assert_allclose(values, features(made, [clip])[0], rtol=0, atol=1e-5 * scale)
        assert values.shape[1] == made.dim


def test_loud_neighbours_and_long_padding_change_nothing(model, clips, monkeypatch):
    monkeypatch.setenv("LACUNA_BATCH", "100")
    for output in ("conv_ln", "hidden"):
        made = extractor(model[1], output=output)
        signal = made.prepare("u", clips[2])
        loud = np.full(20000, 1e4, np.float32)
        alone, beside = made.extract([signal])[0].values, made.extract([loud, signal])[1].values
        np.testing.assert_allclose(beside, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize(
    ("samples", "steps"), [(1, 1), (399, 1), (400, 1), (719, 1), (720, 2), (1039, 2), (1040, 3), (16000, 49)]
)
def test_a_step_is_a_window_of_400_samples_every_320(model, make_voice, samples, steps):
    values = features(extractor(model[1]), [make_voice(1.0)[:samples]])[0]
    assert len(values) == steps == max(0, samples - 400) // 320 + 1


def test_short_recording_is_normalised_and_then_followed_by_zeros(model, clips):
    made = extractor(model[1])
    signal = made.prepare("u", clips[0][:150])
    assert signal.shape == (400,)
    assert not signal[150:].any()
    assert signal[:150].mean() == pytest.approx(0, abs=1e-5)
    assert signal[:150].std() == pytest.approx(1, abs=1e-3)


def test_silence_and_full_scale_give_finite_numbers(model):
    square = np.where(np.arange(3000) % 90 < 45, 32767, -32768).astype(np.int16)
    for output in ("conv_ln", "hidden"):
        for values in features(extractor(model[1], output=output), [np.zeros(3000, np.int16), square]):
            assert np.isfinite(values).all()


@pytest.mark.parametrize("output", ["conv_ln", "hidden"])
def test_pool_mean_is_the_mean_over_time_in_one_step(model, clips, output):
    made = extractor(model[1], output=output, pool="mean")
    sequences = features(extractor(model[1], output=output), clips)
    for pooled, sequence in zip(features(made, clips), sequences, strict=True):
        assert pooled.shape == (1, made.dim)
        np.testing.assert_allclose(pooled[0], sequence.mean(0), rtol=0, atol=1e-5)
    assert made.hop is None
    assert extractor(model[1]).hop == 0.02


def test_bfloat16_is_near_float32(model, clips):
    exact, rough = (
        features(extractor(model[1], output="hidden", precision=p), clips[:1])[0] for p in ("float32", "bfloat16")
    )
    difference = np.abs(exact - rough)
    assert 0 < difference.mean() < 0.03 * np.abs(exact).max()


def test_checkpoint_of_a_speech_recogniser_in_the_old_format_gives_the_same(model, copied, clips):
    """As the published ones: names begin with `wav2vec2.`, weight norm as g and v, a vocabulary on top."""
    recogniser = Wav2Vec2ForCTC(model[0].config)
    recogniser.wav2vec2 = model[0]
    old = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    state = {
        key.replace(f"{old}0", "encoder.pos_conv_embed.conv.weight_g").replace(
            f"{old}1", "encoder.pos_conv_embed.conv.weight_v"
        ): tensor
        for key, tensor in recogniser.state_dict().items()
    }
    (copied / "model.safetensors").unlink()
    torch.save(state, copied / "pytorch_model.bin")
    for output in ("conv_ln", "hidden"):
        expected = features(extractor(model[1], output=output), clips[:1])[0]
        np.testing.assert_array_equal(features(extractor(copied, output=output), clips[:1])[0], expected)


def test_convolutional_features_need_no_transformer(model, copied, clips):
    state = load_file(copied / "model.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("encoder.")}, copied / "model.safetensors")
    np.testing.assert_array_equal(
        features(extractor(copied), clips[:1])[0], features(extractor(model[1]), clips[:1])[0]
    )
    with pytest.raises(DataError, match=r"copied/model\.safetensors: no weights 'encoder\..*put both files"):
        features(extractor(copied, output="hidden"), clips[:1])


def test_weights_of_another_shape_or_too_many_are_refused(copied, clips):
    state = load_file(copied / "model.safetensors")
    key = "feature_projection.layer_norm.weight"
    save_file({**state, key: torch.ones(17)}, copied / "model.safetensors")
    with pytest.raises(DataError, match=rf"'{key}' is \(17,\), not \(16,\), expected what .*config\.json says"):
        features(extractor(copied), clips[:1])
    save_file({**state, "encoder.layers.9.layer_norm.weight": torch.ones(32)}, copied / "model.safetensors")
    with pytest.raises(DataError, match=r"'encoder\.layers\.9\.layer_norm\.weight' that the model has no place for"):
        features(extractor(copied, output="hidden"), clips[:1])


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_file_is_named(copied, clips, name):
    (copied / "model.safetensors").unlink()
    (copied / name).write_bytes(b"no tensors at all")
    with pytest.raises(DataError, match=rf"{name}: damaged or no weights"):
        features(extractor(copied), clips[:1])


def test_file_that_would_run_code_is_refused(copied, clips):
    (copied / "model.safetensors").unlink()
    torch.save({"feature_extractor.x": Path("x")}, copied / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pytorch_model\.bin: damaged or no weights"):
        features(extractor(copied), clips[:1])


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"model_type": "hubert"}, r"config\.json: model_type: found 'hubert', expected wav2vec2; get"),
        ("config.json", {"feat_extract_activation": "relu"}, r"feat_extract_activation: found 'relu', expected gelu"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, r"sampling_rate: found 8000, expected 16000"),
    ],
)
def test_configuration_of_another_model_is_refused(copied, file, change, message):
    entries = json.loads((copied / file).read_text())
    (copied / file).write_text(json.dumps(entries | change))
    with pytest.raises(DataError, match=message):
        extractor(copied)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_configuration_that_is_no_json_object_is_refused(copied, content):
    (copied / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json: .*copy the model's own file|config\.json: no JSON"):
        extractor(copied)


def test_model_that_wants_raw_samples_gets_them(copied, clips):
    entries = json.loads((copied / "preprocessor_config.json").read_text())
    (copied / "preprocessor_config.json").write_text(json.dumps(entries | {"do_normalize": False}))
    np.testing.assert_array_equal(extractor(copied).prepare("u", clips[0]), clips[0].astype(np.float32) / 32768)


def test_architecture_must_be_that_of_the_folder(model):
    with pytest.raises(
        ParamsError, match=r"wav2vec2\.architecture: found base_960h, where conv_dim is .*name the right"
    ):
        extractor(model[1], architecture="base_960h")


def test_random_weights_need_an_architecture():
    with pytest.raises(
        ParamsError, match=r"found null with random weights, expected one of base_960h, xlsr_53_english"
    ):
        extractor("random")


def test_more_layers_than_the_model_has_are_refused(model):
    with pytest.raises(ParamsError, match="layers: found 4, expected at most 3"):
        extractor(model[1], output="hidden", layers=4)


def test_layers_are_refused_where_there_are_none():
    with pytest.raises(ValueError, match="layers is 2 and output conv_ln, expected output hidden"):
        Options(layers=2)


@pytest.mark.parametrize(
    ("architecture", "millions", "dim"), [("base_960h", 94_371_712, 768), ("xlsr_53_english", 315_438_720, 1024)]
)
def test_parameters_are_as_many_as_published(architecture, millions, dim):
    """Of transformers' model by its own count, and of ours, which lacks the mask's vector of training."""
    config = ARCHITECTURES[architecture]
    with torch.device("meta"):
        whole = Wav2Vec2Model(Wav2Vec2Config.from_dict(config))
        own = Transformer(config, 1)
    assert sum(p.numel() for p in whole.parameters()) == millions
    assert sum(p.numel() for p in own.parameters()) == millions - whole.masked_spec_embed.numel()
    made = extractor("random", architecture=architecture, output="hidden")
    assert (made.dim, made.hop) == (dim, 0.02)


def test_random_convolutions_are_the_real_ones_and_the_same_every_time(clips):
    values = features(extractor("random", architecture="base_960h"), clips[:1])[0]
    np.testing.assert_array_equal(features(extractor("random", architecture="base_960h"), clips[:1])[0], values)
    assert values.shape == (27, 512)
    np.testing.assert_allclose(values.mean(0)[[0, 1, 100, 511]], GOLDEN, rtol=2e-3)
    convolutions = untrained(ARCHITECTURES["base_960h"], None)
    assert sum(p.numel() for p in convolutions.parameters()) == 4_201_472
