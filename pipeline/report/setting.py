"""What results were measured on and with: corpus, protocol, features, sizes of models, and what to beware of."""

from typing import Any

from pipeline.data.modalities import MODALITIES
from pipeline.report.quantity import Quantity
from pipeline.report.results import FLOOR, named, ordered
from pipeline.report.table import NOTHING, Cell, Table, count, operations


def facts(scores: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of every fact about corpus and protocol."""
    counts, folds = scores["counts"], scores["folds"]
    sizes = [f"{_span([fold[part] for fold in folds])} {part}" for part in ("train", "valid", "test")]
    independent = "yes: no speaker is in two parts of a fold"
    dependent = "NO: speakers of the test part also occur in training, so results are too good for unseen speakers"
    return [
        ("Corpus", scores["corpus"] + (" (synthetic)" if scores["synthetic"] else "")),
        (
            "Utterances",
            f"{count(counts['used'])} used of {count(counts['manifest'])} in the manifest; "
            f"{counts['quarantined']} quarantined (unreadable), {counts['label_left_out']} left out by their label; "
            f"{count(counts['tested'])} tested",
        ),
        ("Duration", NOTHING if scores["hours"] is None else f"{scores['hours']:.2f} h"),
        ("Speakers", str(scores["speakers"])),
        ("Values", _values(scores["values"]))
        if scores["values"]
        else ("Classes", ", ".join(f"{name} {n}" for name, n in scores["classes"].items())),
        ("Natural absence", f"{_by_modality(scores['absent'])} utterances"),
        ("Longest sequence", f"{_by_modality(scores['max_lengths'])} steps"),
        ("Protocol", f"{scores['protocol']}, {len(folds)} folds of {', '.join(sizes)} utterances"),
        ("Speaker-independent", independent if scores["speaker_independent"] else dependent),
        *([("Remark", scores["note"])] if scores["note"] else []),
    ]


def feature_table(scores: dict[str, Any]) -> Table:
    """Where the features of every modality come from."""
    lines = []
    for modality in MODALITIES:
        made = scores["features"][modality]
        options = ", ".join(f"{name}={value}" for name, value in (made.get("options") or {}).items())
        weights = "random" if made.get("random_weights") else (made.get("weights_sha256") or "none")[:12]
        cells = [modality, made["feature_set"], made["extractor"], options or NOTHING, weights]
        lines.append([Cell(str(cell)) for cell in cells])
    caption = f"Features of {scores['benchmark']}; weights by the first digits of their SHA-256."
    return Table(caption, ["modality", "feature set", "extractor", "options", "weights"], lines)


def model_table(scores: dict[str, Any], primary: str) -> Table:
    """Size, training regime and effort of training of every row."""
    lines = [
        [Cell(named(row), f"not applicable: {row['not_applicable']}"), *[Cell(NOTHING)] * 5]
        if row["not_applicable"]
        else [
            Cell(text) for text in (named(row), *_size(row), row["regime"], count(row["models"]), count(row["epochs"]))
        ]
        for row in ordered(scores, primary)
    ]
    caption = (
        "Trained parameters of one model, parts that only training uses included; multiply-accumulate operations "
        "(MACs) of predicting one utterance of the greatest length; training regime, how many models it took for all "
        "folds and seeds, and their epochs together. Rows that share their models each count them."
    )
    return Table(caption, ["row", "parameters", "MACs", "regime", "models", "epochs"], lines)


def _size(row: dict[str, Any]) -> tuple[str, str]:
    return count(row["parameters"]), operations(row["macs"])


def row_params(scores: dict[str, Any], primary: str) -> list[tuple[str, str]]:
    """Parameters of every row, `name=value` by name."""
    rows = [row for row in ordered(scores, primary) if not row["not_applicable"]]
    return [(named(row), ", ".join(f"{k}={v}" for k, v in sorted(row["params"].items()))) for row in rows]


def notes(scores: dict[str, Any], primary: str) -> list[str]:
    """What to beware of: rows that always predict the same, and rows that are not applicable."""
    found, what = [], "class" if scores["labels"] else "value"
    for row in ordered(scores, primary):
        if row["not_applicable"]:
            found.append(f"{row['row']} is not applicable: {row['not_applicable']}.")
        for pattern, shares in row["degenerate"].items():
            everywhere = len(shares) == len(row["patterns"][pattern]["conditions"]) and set(shares.values()) == {1.0}
            if everywhere and row["row"] == FLOOR:
                continue
            at = ", ".join(f"{condition} ({100 * share:.0f} % of runs)" for condition, share in shares.items())
            if shares:
                found.append(
                    f"{row['row']} is degenerate under {pattern}: it predicts one single {what} "
                    + ("in every run." if everywhere else f"at {at}.")
                )
    if any(row["row"] == FLOOR for row in scores["rows"]):
        always = "most frequent training class" if scores["labels"] else "same value"
        found.append(f"{FLOOR} predicts the {always} always; it is the floor of every comparison.")
    return found


def _span(numbers: list[int]) -> str:
    return f"{min(numbers)} to {max(numbers)}" if len(set(numbers)) > 1 else str(numbers[0])


def _values(found: dict[str, float]) -> str:
    share = Quantity("positive").text(found["positive"], 1)
    return (
        f"{found['low']:g} to {found['high']:g}, mean {found['mean']:.3f}, deviation {found['sd']:.3f}; {share} % are "
        f"positive, which is {found['positive_from']:g} or more"
    )


def _by_modality(values: dict[str, int]) -> str:
    return ", ".join(f"{modality} {values[modality]}" for modality in MODALITIES)
