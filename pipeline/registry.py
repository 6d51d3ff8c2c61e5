"""The registry is the folder: `methods.mct_hfr` in params.yaml is pipeline/methods/mct_hfr.py."""

import ast
import difflib
import hashlib
import importlib
import inspect
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ContractError, ParamsError

_PACKAGE = Path(__file__).parent
_SUPPORT = {"protocol"}


def names(kind: str) -> list[str]:
    """What a folder offers (`kind`: methods, corpora, importers, extractors), found without importing anything."""
    modules = [path for path in (_PACKAGE / kind).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(path.stem for path in modules if not path.stem.startswith("_") and path.stem not in _SUPPORT)


def load(kind: str, name: str, where: str = "") -> ModuleType:
    """Import one entry, and no other.

    Args:
        kind: folder.
        name: of the entry.
        where: the key of params.yaml that names it, for the message.

    Raises:
        ParamsError: there is no such file.
    """
    known = names(kind)
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(known)}"
        raise ParamsError(f"params.yaml: {where or kind}: '{name}' has no file pipeline/{kind}/{name}.py, {hint}")
    return importlib.import_module(f"pipeline.{kind}.{name}")


def load_generator(name: str, where: str) -> ModuleType:
    """Import the `generate` module of a synthetic corpus.

    Args:
        name: of the corpus' package.
        where: the key of params.yaml that names it, for the message.

    Raises:
        ParamsError: there is no such corpus, or it can only be read.
    """
    package = load("corpora", name, where)
    if not Path(str(package.__file__)).with_name("generate.py").is_file():
        raise ParamsError(
            f"params.yaml: {where}: '{name}' cannot be generated, it is only read; name a corpus that has a generate.py"
        )
    return importlib.import_module(f"{package.__name__}.generate")


def entry_class(module: ModuleType, *methods: str) -> type[Any]:
    """The one public class that `module` itself defines with all of `methods`.

    Raises:
        ContractError: there is none or more than one.
    """
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__ and all(callable(getattr(member, m, None)) for m in methods)
    ]
    if len(found) != 1:
        wanted = " and ".join(methods)
        raise ContractError(f"{module.__file__}: found {len(found)} classes with {wanted}, expected exactly one")
    return found[0]


@cache
def import_closure(module: str) -> frozenset[Path]:
    """The files of `pipeline` and `stages` that `module` imports, directly or not, itself included.

    Read from the source, imports inside functions included; `registry.load` is not followed. Paths are relative to the
    root of the checkout. A package's `__init__.py` counts, as Python runs it.
    """
    root = _PACKAGE.parent
    found: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in found or not (path := _source(root, current)):
            continue
        found.add(current)
        if "." in current:
            waiting.append(current.rpartition(".")[0])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
    return frozenset(path.relative_to(root) for name in found if (path := _source(root, name)))


def sources_sha256(*modules: str) -> str:
    """Hash of the source code of some modules and of all that they import: changes when their behaviour may."""
    digest = hashlib.sha256()
    for path in sorted(frozenset[Path]().union(*map(import_closure, modules))):
        digest.update(str(path).encode() + (_PACKAGE.parent / path).read_bytes())
    return digest.hexdigest()


def _source(root: Path, module: str) -> Path | None:
    if module.split(".")[0] not in {"pipeline", "stages"}:
        return None
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None
