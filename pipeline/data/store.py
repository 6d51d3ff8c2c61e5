"""FeatureStore: one modality of one corpus, packed, with the provenance of every number in it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.packed import Array, Field, Packed, write_packed
from pipeline.errors import DataError


class Row(NamedTuple):
    """One utterance of a store.

    Args:
        utt_id: its id.
        values: `(T, D)` float32.
        present: `(T,)` bool, or None when every step is there.
        tokens: `(T,)` int32, in a store that has tokens.
    """

    utt_id: str
    values: Array
    present: Array | None = None
    tokens: Array | None = None


@dataclass(frozen=True)
class Provenance:
    """What made a store.

    Args:
        modality: text, audio or vision.
        extractor: module name in pipeline/extractors, or the importer of a feature corpus.
        version: version of the extractor and of the package that it calls.
        options: the extractor's options.
        dim: features of one step.
        hop: seconds between steps, or None where steps are not evenly spaced (words).
        weights_sha256: hash of the weights, or None where there are none.
        source_sha256: content hash of the stream that was read.
        random_weights: the network was not trained; the numbers only test the pipeline.
        tokens: the store also says which token each step stands for.
    """

    modality: str
    extractor: str
    version: str
    options: dict[str, Any]
    dim: int
    hop: float | None
    weights_sha256: str | None
    source_sha256: str
    random_weights: bool = False
    tokens: bool = False


def store_fields(dim: int, *, tokens: bool) -> dict[str, Field]:
    """The flat arrays of a store (and of its unfinished parts)."""
    fields = {"values": Field(np.float32, dim), "present": Field(np.bool_)}
    return fields | ({"tokens": Field(np.int32)} if tokens else {})


def write_store(
    path: Path,
    rows: Iterable[Row | tuple[str, Array, Array | None]],
    provenance: Provenance,
    excluded: Sequence[str] = (),
) -> None:
    """Write a feature store, whole or not at all.

    Args:
        path: the file to make.
        rows: in ascending order of id; zero steps mean that the modality is naturally absent.
        provenance: what made it.
        excluded: ids of the manifest that have no row (quarantined).

    Raises:
        DataError: unsorted ids, a wrong width, NaN or infinity; names the file and the utterance.
    """
    fields = store_fields(provenance.dim, tokens=provenance.tokens)
    try:
        with write_packed(path, fields, asdict(provenance), excluded) as writer:
            for utt_id, values, present, tokens in (Row(*row) for row in rows):
                arrays = {"values": values, "present": np.ones(len(values), bool) if present is None else present}
                if provenance.tokens and tokens is not None:
                    arrays["tokens"] = tokens
                writer.add(utt_id, **arrays)
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from None


class FeatureStore(Packed):
    """Lazy reader: `values (sum T, D) float32`, `present (sum T) bool`, `offsets (N + 1)`, `ids`, `provenance`.

    With `provenance.tokens` also `tokens (sum T) int32`.
    """

    def __init__(self, path: Path) -> None:
        """Open the store.

        Raises:
            DataError: it is missing or damaged, or its provenance does not fit its content.
        """
        super().__init__(path, ("values", "present", "offsets"))
        try:
            self.provenance = Provenance(**self.attrs)
        except TypeError as error:
            raise DataError(f"{path}: provenance does not fit ({error}); extract this feature set again") from None
        width = self._data["values"].shape[1]
        offsets = self._offsets = self.offsets()
        if width != self.provenance.dim or len(offsets) != len(self) + 1 or offsets[-1] != len(self._data["values"]):
            raise DataError(
                f"{path}: {len(self)} ids, {len(offsets) - 1} rows, {len(self._data['values'])} steps of {width}; the "
                f"index says {offsets[-1]} steps of {self.provenance.dim}; delete it and run `dvc repro`"
            )

    def lengths(self) -> npt.NDArray[np.int64]:
        """Steps of every utterance, `(N,)`; 0 = absent."""
        return np.diff(self._offsets)

    def row(self, utt_id: str) -> tuple[Array, Array]:
        """Values `(T, D)` and present `(T,)` of one utterance.

        Raises:
            DataError: there is no such utterance.
        """
        start, stop = self._span(utt_id)
        return self.part("values", start, stop), self.part("present", start, stop)

    def tokens(self, utt_id: str) -> Array | None:
        """Tokens `(T,)` int32 of one utterance; None in a store that has none.

        Raises:
            DataError: there is no such utterance.
        """
        return self.part("tokens", *self._span(utt_id)) if self.provenance.tokens else None

    def _span(self, utt_id: str) -> tuple[int, int]:
        if utt_id not in self:
            raise DataError(f"{self.path}: no utterance '{utt_id}'; its ids do not fit, extract this feature set again")
        row = self.position(utt_id)
        return int(self._offsets[row]), int(self._offsets[row + 1])
