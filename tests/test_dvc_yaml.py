"""dvc.yaml says what each stage really imports and reads, and names no method, corpus or extractor."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import registry

ROOT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
BODIES = {name: stage.get("do", stage) for name, stage in STAGES.items()}
EVERY_CORPUS = [f"pipeline.corpora.{name}" for name in registry.names("corpora")]
ENTRIES = {
    "generate": ("item.generator", [("demo", ["pipeline.corpora.demo.generate"])]),
    "ingest": ("", [("all", EVERY_CORPUS)]),
    "import_features": (
        "item.importer",
        [(name, [f"pipeline.importers.{name}", *EVERY_CORPUS]) for name in registry.names("importers")],
    ),
    "extract": ("item.extractor", [(name, [f"pipeline.extractors.{name}"]) for name in registry.names("extractors")]),
    "train": ("item.method", [(name, [f"pipeline.methods.{name}"]) for name in registry.names("methods")]),
    "evaluate": ("item.method", [(name, [f"pipeline.methods.{name}"]) for name in registry.names("methods")]),
}
LOCATIONS = {"train": {"features"}, "evaluate": {"features"}}
"""Of these a stage takes only where files are: no content, so no dependency. What was made of the files is one."""
CASES = [
    (stage, entry, modules, key)
    for stage in BODIES
    for key, entries in [ENTRIES.get(stage, ("", [("", [])]))]
    for entry, modules in entries
]


def _code_deps(stage: str, key: str, entry: str) -> list[str]:
    deps = [dep.replace(f"${{{key}}}", entry) for dep in BODIES[stage]["deps"]]
    return [dep for dep in deps if dep == "pipeline" or dep.startswith(("pipeline/", "stages/"))]


def _closure(stage: str, modules: list[str]) -> set[str]:
    files = set(registry.import_closure(f"stages.{stage}"))
    for module in modules:
        files |= registry.import_closure(module)
    return {
        str(path) for path in files if path.name != "__init__.py" or len(ast.parse((ROOT / path).read_text()).body) > 1
    }


@pytest.mark.parametrize(("stage", "entry", "modules", "key"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_every_imported_file_is_a_dependency(stage: str, entry: str, modules: list[str], key: str) -> None:
    deps = _code_deps(stage, key, entry)
    forgotten = [f for f in sorted(_closure(stage, modules)) if not any(f == d or f.startswith(f"{d}/") for d in deps)]
    assert forgotten == []


@pytest.mark.parametrize("stage", BODIES)
def test_every_code_dependency_is_imported_and_exists(stage: str) -> None:
    key, entries = ENTRIES.get(stage, ("", [("", [])]))
    files = set().union(*(_closure(stage, modules) for _, modules in entries))
    deps = {dep for entry, _ in entries for dep in _code_deps(stage, key, entry)}
    assert [dep for dep in sorted(deps) if not (ROOT / dep).exists()] == []
    assert [dep for dep in sorted(deps) if not any(f == dep or f.startswith(f"{dep}/") for f in files)] == []


@pytest.mark.parametrize("stage", BODIES)
def test_declared_params_are_the_params_read(stage: str) -> None:
    declared = {param.split(".")[0] for param in BODIES[stage].get("params", [])}
    tree = ast.parse((ROOT / "stages" / f"{stage}.py").read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match(r"params$|load_params\(", ast.unparse(node.value))
    }
    assert read == declared | LOCATIONS.get(stage, set())


@pytest.mark.parametrize("stage", LOCATIONS)
def test_of_a_feature_set_only_the_place_of_its_weights_is_read_without_being_declared(stage: str) -> None:
    source = (ROOT / "stages" / f"{stage}.py").read_text()
    assert source.count("params.features") == 1
    assert "{name: features.weights for name, features in params.features.items()}" in source


@pytest.mark.parametrize(("stage", "keys"), [("train", {"seeds"}), ("evaluate", {"seeds"}), ("mask", {"missing"})])
def test_of_a_benchmark_a_stage_reads_only_the_keys_it_declares(stage: str, keys: set[str]) -> None:
    declared = {m[1] for p in BODIES[stage]["params"] if (m := re.match(r"benchmarks\.\$\{[^}]+\}\.(\w+)", p))}
    source = (ROOT / "stages" / f"{stage}.py").read_text()
    assert set(re.findall(r"benchmarks\[benchmark\]\.(\w+)", source)) == declared == keys


@pytest.mark.parametrize("stage", BODIES)
def test_every_stage_says_what_it_is_for(stage: str) -> None:
    assert BODIES[stage]["desc"]


def test_no_stage_is_persistent_frozen_or_always_changed() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert not re.search(r"persist|frozen|always_changed", text)


def test_a_plain_out_is_always_cached_so_that_the_run_cache_works() -> None:
    for body in BODIES.values():
        assert all(isinstance(out, str) for out in body.get("outs", []))


def test_no_method_corpus_or_extractor_is_named_in_dvc_yaml() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    named = [name for kind in ("methods", "extractors", "corpora", "importers") for name in registry.names(kind)]
    assert [name for name in named if re.search(rf"\b{name}\b", text)] == []


def test_importing_one_method_touches_no_other() -> None:
    methods = registry.names("methods")
    for name in methods:
        others = {Path(f"pipeline/methods/{other}.py") for other in methods if other != name}
        assert not others & registry.import_closure(f"pipeline.methods.{name}")
