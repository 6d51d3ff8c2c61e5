"""The registry is the folder, and imports nothing that was not asked for."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeline import registry
from pipeline.errors import ContractError, ParamsError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another checkout, whose files a test writes."""
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path / "pipeline")
    registry.import_closure.cache_clear()
    yield tmp_path
    registry.import_closure.cache_clear()


def write(root: Path, **sources: str) -> None:
    for name, source in sources.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        (path.parent / "__init__.py").touch()


def test_names_are_files_and_packages_without_the_supporting_ones(checkout: Path) -> None:
    write(checkout, pipeline__methods__b="", pipeline__methods__a="", pipeline__methods__protocol="")
    write(checkout, pipeline__methods___hidden="")
    folder = checkout / "pipeline" / "methods"
    (folder / "c").mkdir()
    (folder / "c" / "__init__.py").touch()
    (folder / "__pycache__").mkdir()
    (folder / "notes.txt").touch()
    assert registry.names("methods") == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["methods", "corpora", "extractors"])
def test_every_entry_of_the_registry_can_be_imported_by_its_name(kind: str) -> None:
    assert registry.names(kind)
    for name in registry.names(kind):
        assert registry.load(kind, name).__name__ == f"pipeline.{kind}.{name}"


def test_looking_names_up_imports_nothing() -> None:
    source = (
        "import sys; from pipeline import registry; registry.names('methods'); "
        "print([m for m in sys.modules if m.startswith('pipeline.methods') or m == 'torch'])"
    )
    assert subprocess.check_output([sys.executable, "-c", source], cwd=ROOT, text=True) == "[]\n"


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(
        ParamsError, match=r"methods: 'majorty' has no file pipeline/methods/majorty\.py, did you mean 'majority'\?"
    ):
        registry.load("methods", "majorty")
    with pytest.raises(ParamsError, match=r"methods: 'zzzz' has no file pipeline/methods/zzzz\.py, one of .*majority"):
        registry.load("methods", "zzzz")


def test_supporting_modules_are_no_entries() -> None:
    with pytest.raises(ParamsError, match="no file"):
        registry.load("methods", "protocol")


def _module(**members: object) -> ModuleType:
    module = ModuleType("made")
    module.__file__ = "made.py"
    for name, member in members.items():
        setattr(module, name, member)
    return module


def _class(module: str, *methods: str) -> type:
    return type("Made", (), {"__module__": module, **{name: lambda self: None for name in methods}})


def test_the_entry_is_the_one_class_with_the_methods_that_the_module_defines() -> None:
    own = _class("made", "fit", "predict")
    module = _module(own=own, imported=_class("elsewhere", "fit", "predict"), other=_class("made", "fit"), fit=print)
    assert registry.entry_class(module, "fit", "predict") is own


@pytest.mark.parametrize("count", [0, 2])
def test_no_entry_or_two_break_the_contract(count: int) -> None:
    module = _module(**{f"c{i}": _class("made", "fit", "predict") for i in range(count)})
    with pytest.raises(
        ContractError, match=rf"made\.py: found {count} classes with fit and predict, expected exactly one"
    ):
        registry.entry_class(module, "fit", "predict")


def test_the_closure_follows_every_form_of_import(checkout: Path) -> None:
    write(
        checkout,
        pipeline__start="import os\nimport pipeline.plain\nfrom pipeline import named\nfrom pipeline.deep.x import y\n"
        "def f():\n    from pipeline.late import z\n",
        pipeline__plain="import numpy",
        pipeline__named="from stages import one",
        pipeline__deep__x="y = 1",
        pipeline__late="import pipeline.start",
        pipeline__unused="",
        stages__one="",
    )
    found = {str(path) for path in registry.import_closure("pipeline.start")}
    assert found == {
        "pipeline/__init__.py",
        "pipeline/start.py",
        "pipeline/plain.py",
        "pipeline/named.py",
        "pipeline/deep/__init__.py",
        "pipeline/deep/x.py",
        "pipeline/late.py",
        "stages/__init__.py",
        "stages/one.py",
    }


def test_the_closure_holds_what_python_really_imports() -> None:
    source = (
        "import sys, pathlib, pipeline.splits.benchmark; "
        "print(*[m.__file__ for n, m in sorted(sys.modules.items()) if n.startswith('pipeline')], sep='\\n')"
    )
    files = subprocess.check_output([sys.executable, "-c", source], cwd=ROOT, text=True).split()
    assert {Path(file).relative_to(ROOT) for file in files} <= registry.import_closure("pipeline.splits.benchmark")


def test_the_hash_of_sources_changes_with_any_file_of_the_closure_and_no_other(checkout: Path) -> None:
    write(checkout, pipeline__a="from pipeline import b", pipeline__b="x = 1", pipeline__c="x = 1")

    def digest() -> str:
        registry.import_closure.cache_clear()
        return registry.sources_sha256("pipeline.a")

    before = digest()
    write(checkout, pipeline__c="x = 2")
    assert digest() == before
    write(checkout, pipeline__b="x = 2")
    assert digest() != before
