"""Artifacts appear whole or not at all: temporary name, fsync, rename."""

import csv
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import DataError


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it onto `target` when the block ends well.

    The block may make a file or a folder. When it raises, the temporary is removed and `target` stays as it was.

    Raises:
        DataError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _forget_killed(target)
    own = f".{target.name}.{platform.node()}-{os.getpid()}"
    temporary, earlier = target.parent / f"{own}.tmp", target.parent / f"{own}.earlier.tmp"
    try:
        yield temporary
        _flush(temporary)
        if target.is_dir() and not target.is_symlink():
            os.replace(target, earlier)
        os.replace(temporary, target)
        _sync(target.parent)
    except (OSError, RuntimeError) as error:  # HDF5 says it by a RuntimeError where it flushes
        number = getattr(error, "errno", None)
        if number in {errno.ENOSPC, errno.EDQUOT} or re.search(r"No space left|errno = 28\b", str(error)):
            raise DataError(
                f"{target}: the disk is full, nothing was written; free space on {target.parent.resolve()}, run again"
            ) from error
        raise
    finally:
        if earlier.exists() and not target.exists():
            os.replace(earlier, target)
        _remove(temporary)
        _remove(earlier)


def _forget_killed(target: Path) -> None:
    """Remove what processes of this machine that were killed have left beside `target`."""
    prefix = f".{target.name}.{platform.node()}-"
    for path in target.parent.glob(f"{prefix}*.tmp"):
        owner = path.name.removeprefix(prefix).removesuffix(".tmp").removesuffix(".earlier")
        if owner.isdigit() and (int(owner) == os.getpid() or not _alive(int(owner))):
            _remove(path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            _sync(file)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, one value a line, so that two versions can be compared by eye."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro` makes it") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); delete it and run `dvc repro`") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table, whole or not at all; None becomes an empty cell."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        quoting = csv.DictWriter(file, columns, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        for row in rows:
            # The writer quotes only the line end it writes, the reader takes a bare carriage return for one, too.
            (quoting if any("\r" in str(cell) for cell in row.values()) else writer).writerow(row)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table; every cell is text (a csv reader that guesses types turns ids into numbers).

    Raises:
        DataError: the file is missing or a row has more or fewer cells than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restkey="?extra"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro` makes it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table of UTF-8 text ({error}); mend or re-create the file") from None
    for number, row in enumerate(rows, start=2):
        if "?extra" in row or None in row.values():
            raise DataError(f"{path}: line {number} has not as many cells as the header; mend or re-create the file")
    return rows


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes.

    Raises:
        DataError: the file is missing.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro` makes it") from None
