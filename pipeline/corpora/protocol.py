"""What a corpus reader is: a module with `Options` and `read`.

    class Options(CorpusOptions): ...
    def read(root: Path, options: Options) -> Reading: ...

A synthetic corpus is a package that also has a module `generate` with its own `Options` and
`generate(target: Path, options: Options, seed: int) -> None`.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from pipeline.data.manifest import Dropped, Utterance


class CorpusOptions(BaseModel):
    """Base of every reader's `Options`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Reading:
    """What a reader found: every clip is either kept or dropped with a reason.

    Args:
        kept: utterances.
        dropped: clips left out.
        found: number of clips on disk; kept + dropped must equal it.
    """

    kept: list[Utterance]
    dropped: list[Dropped]
    found: int
