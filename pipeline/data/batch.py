"""A padded batch of utterances."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from pipeline.data.modalities import MODALITIES as MODALITIES
from pipeline.data.modalities import MODALITY_SETS as MODALITY_SETS
from pipeline.data.steps import Features, Steps, at_least_one_step, concatenated

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """B utterances, every modality padded to its longest.

    Features are exactly 0 wherever `observed` is False: the constructor sees to it. In a modality of `reencoded` that
    holds where `present` is False; a step that was dropped has what the encoder gives for [UNK] in its place, and
    nothing in the text is what the encoder had made of the dropped tokens.

    Args:
        features: per modality `(B, T_m, D_m)` float32; T_m may be 0 when nobody has the modality. `features.steps` has
            them as rows of a table, for a layer that looks at single steps.
        valid: per modality `(B, T_m)` bool: not padding.
        present: per modality `(B, T_m)` bool: valid, and there in the recording (a face was found).
        observed: per modality `(B, T_m)` bool: present, and not masked out.
        labels: `(B,)` int64, or float32 values in a regression.
        index: `(B,)` int64, rows of the dataset.
        complete: features before masking; in training only, else None.
        reencoded: modalities whose texts were encoded anew without what was dropped (`text_missing: unk`).
        keys: `(B,)` int64, hashes of the utterances' ids, for chance that belongs to an utterance; or None.
    """

    features: Features
    valid: Masks
    present: Masks
    observed: Masks
    labels: Tensor
    index: Tensor
    complete: Features | None = None
    reencoded: frozenset[str] = frozenset()
    keys: Tensor | None = None

    def __post_init__(self) -> None:
        """Zero what is not observed."""
        filled = {m: self.present[m] if m in self.reencoded else self.observed[m] for m in self.features}
        object.__setattr__(self, "features", Features.of(self.features).where(filled))
        if self.complete is not None:
            object.__setattr__(self, "complete", Features.of(self.complete))

    def __len__(self) -> int:
        """Return B."""
        return len(self.labels)

    def unmasked(self) -> "Batch":
        """The complete view: the same utterances before masking."""
        assert self.complete is not None
        return replace(self, features=self.complete, observed=self.present)


def side_by_side(views: Sequence[Batch]) -> tuple[dict[str, Steps], Masks]:
    """Some views of the same utterances as one batch, one view after the other: what a network reads in one pass.

    Returns:
        Per modality the sequences and their valid steps `(V B, T_m)`, T_m of at least 1: a modality that nobody has is
        one step of padding.
    """
    first = views[0]
    steps = {m: at_least_one_step(concatenated([view.features.steps[m] for view in views])) for m in first.features}
    return steps, {m: at_least_one_step(v.repeat(len(views), 1)) for m, v in first.valid.items()}
