"""Weights on the user's disk: which files, where they come from, their hash. Nothing is ever downloaded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import DataError, ParamsError
from pipeline.files import sha256

RANDOM: Final = "random"
"""What `weights` says for the real architecture, untrained."""


@dataclass(frozen=True)
class Checkpoint:
    """What an extractor reads beside the stream.

    Args:
        model: as its owner calls it.
        url: the page to get it from.
        files: names in the folder that decide the features, `a|b` where either will do; empty when `weights` is one
            file.
        pattern: of the names instead, where their number is that of the utterances: `*.csv`.
        packaged: gives the folder of an installed package, for when params.yaml names none.
        random: whether the architecture can be built untrained (`weights: random`).
    """

    model: str
    url: str
    files: tuple[str, ...] = ()
    pattern: str = ""
    packaged: Callable[[], Path] | None = None
    random: bool = True

    def check(self, weights: str | None, where: str) -> None:
        """Refuse what cannot be right, without looking at the disk.

        Args:
            weights: the value of `weights`.
            where: its key, for messages.

        Raises:
            ParamsError: nothing is named, or `random` where that means nothing.
        """
        if weights == RANDOM and not self.random:
            raise ParamsError(f"{where}: found 'random', but {self.model} is no network; {self._how}")
        if weights is None and self.packaged is None:
            raise ParamsError(f"{where}: found null, expected where {self.model} is; {self._how}")

    def find(self, weights: str | None, where: str) -> Path:
        """The folder or file that params.yaml names, or that of the package.

        Raises:
            DataError: it or one of its files is missing; says which model, where to get it and where to put it.
        """
        path = Path(weights) if weights else self.packaged()  # type: ignore[misc]
        for file in self._chosen(path):
            if not file.is_file():
                missing = f"no {file.name.replace('|', ' or ')}" if self._in_folder else "no such file"
                raise DataError(f"{path}: {missing}, expected {self.model} ({where}); {self._how}")
        return path

    def sha256(self, path: Path) -> str:
        """Hash of the one file, or of the list of hashes of a folder's files.

        A folder's is what `(cd FOLDER && sha256sum FILE ... | sha256sum)` prints, files in the order of `files`, or
        by name (`LC_ALL=C`) where there is a pattern.
        """
        files = self._chosen(path)
        if not self._in_folder:
            return sha256(files[0])
        listing = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()

    def _chosen(self, path: Path) -> list[Path]:
        """The files that count; where none of several alternatives is there, the pattern itself."""
        if self.pattern:
            return sorted(path.glob(self.pattern)) or [path / self.pattern]
        if not self.files:
            return [path]
        found = []
        for pattern in self.files:
            there = [path / name for name in pattern.split("|") if (path / name).is_file()]
            found.append(there[0] if there else path / pattern)
        return found

    @property
    def _in_folder(self) -> bool:
        return bool(self.files or self.pattern)

    @property
    def _how(self) -> str:
        names = ", ".join(self.files).replace("|", " or ") or self.pattern
        files = f"a folder with {names}" if names else "the file"
        untrained = ", or `random` for an untrained one" if self.random else ""
        return f"get it from {self.url} and name {files} in `weights`{untrained}"
