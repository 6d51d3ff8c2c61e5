"""The pipeline as users run it: `dvc repro` on a small demo study, and what reruns what (design.md, section 6)."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.stages.checkout import ROOT, Checkout, copy_working_tree, shrink, stages_run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]

TAIL = ["score@demo", "report", "costs"]
METHODS = ["majority", "mct_hfr", "mlp"]


def _of(stage: str) -> list[str]:
    return [f"{stage}@demo-{method}" for method in METHODS]


def _hashes(checkout: Checkout) -> dict[str, str]:
    files = [path for top in ("data", "metrics") for path in sorted((checkout.path / top).rglob("*")) if path.is_file()]
    varying = ("metrics/costs", "metrics/costs.md", "metrics/costs.html")
    names = {path: str(path.relative_to(checkout.path)) for path in files}
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for p, n in names.items() if not n.startswith(varying)}


def test_a_second_repro_runs_nothing(demo_checkout: Checkout) -> None:
    assert demo_checkout.repro() == []


def test_the_report_says_that_the_corpus_is_synthetic(demo_checkout: Checkout) -> None:
    assert "synthetic" in (demo_checkout.path / "metrics/report.md").read_text()
    assert "synthetic" in (demo_checkout.path / "metrics/report.html").read_text()


def test_metrics_show_prints_an_auilc_for_every_row(demo_checkout: Checkout) -> None:
    shown = json.loads(demo_checkout.run("dvc", "metrics", "show", "--json"))
    rows = shown[""]["data"]["metrics/auilc.json"]["data"]["demo"]
    assert set(rows) == {"majority", "mct_hfr", "mlp", "mlp:mean"}


def test_a_modality_that_is_absent_throughout_goes_through_every_stage(demo_checkout: Checkout) -> None:
    # shrink() reads no text: the study has the extractor `absent` for it.
    scores = json.loads((demo_checkout.path / "metrics/scores/demo.json").read_text())
    assert scores


def test_a_second_run_from_nothing_gives_the_same_bytes(demo_checkout: Checkout, tmp_path: Path) -> None:
    again = copy_working_tree(tmp_path)
    again.edit(shrink)
    again.repro(LACUNA_JOBS="1")
    first, second = _hashes(demo_checkout), _hashes(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_method_parameter_reruns_that_method_only(demo_checkout: Checkout) -> None:
    demo_checkout.edit(lambda p: p["methods"]["mlp"].update(epochs=3))
    assert demo_checkout.repro() == ["train@demo-mlp", "evaluate@demo-mlp", *TAIL]
    # Back: the run cache has it.
    demo_checkout.edit(lambda p: p["methods"]["mlp"].update(epochs=2))
    assert demo_checkout.repro() == []


@pytest.mark.parametrize(
    "change", ["layers=3", "alpha=0.9", "beta=0.9", "p_miss=0.3", "regime=complete"], ids=lambda c: c.split("=")[0]
)
def test_an_experiment_with_a_method_reruns_that_method_only(demo_checkout: Checkout, change: str) -> None:
    before = (demo_checkout.path / "params.yaml").read_text()
    output = demo_checkout.run("dvc", "exp", "run", "-S", f"methods.mct_hfr.{change}")
    ran = [stage for stage in stages_run(output) if stage != "check"]
    assert ran == ["train@demo-mct_hfr", "evaluate@demo-mct_hfr", *TAIL]
    (demo_checkout.path / "params.yaml").write_text(before)
    assert demo_checkout.repro() == []


def test_a_test_grid_reruns_no_training(demo_checkout: Checkout) -> None:
    demo_checkout.edit(lambda p: p["benchmarks"]["demo"]["missing"]["test"]["frames"].update(rates=[0.0, 0.9]))
    assert demo_checkout.repro() == ["mask@demo", *_of("evaluate"), *TAIL]
    demo_checkout.edit(lambda p: p["benchmarks"]["demo"]["missing"]["test"]["frames"].update(rates=[0.0, 0.5, 0.9]))
    assert demo_checkout.repro() == []


def test_an_extractor_reruns_what_depends_on_it_and_never_decode(demo_checkout: Checkout) -> None:
    demo_checkout.edit(lambda p: p["features"]["demo_audio"].update(extractor="absent"))
    ran = demo_checkout.repro()
    assert sorted(ran) == sorted(
        ["extract@demo_audio", "split@demo", "mask@demo", *_of("train"), *_of("evaluate"), *TAIL]
    )
    demo_checkout.edit(lambda p: p["features"]["demo_audio"].update(extractor="egemaps"))
    assert demo_checkout.repro() == []


def test_a_decode_rate_reruns_decode_and_what_follows(demo_checkout: Checkout) -> None:
    demo_checkout.edit(lambda p: p["corpora"]["demo"]["decode"].update(face_hz=1.0))
    ran = demo_checkout.repro()
    assert ran[:1] == ["decode@demo"]
    assert "extract@demo_vision" in ran
    assert "extract@demo_audio" not in ran  # the sound is the same, so are its bytes
    assert "generate@demo" not in ran
    demo_checkout.edit(lambda p: p["corpora"]["demo"]["decode"].update(face_hz=2.0))
    assert demo_checkout.repro() == []


def test_score_code_reruns_score_and_report(demo_checkout: Checkout) -> None:
    file = "pipeline/evaluation/auilc.py"
    before = (demo_checkout.path / file).read_text()
    demo_checkout.touch_code(file)
    assert demo_checkout.repro() == ["score@demo"]  # its output is the same, so the report stands
    (demo_checkout.path / file).write_text(before)
    assert demo_checkout.repro() == []


def test_a_method_file_reruns_that_method_only(demo_checkout: Checkout) -> None:
    file = "pipeline/methods/majority.py"
    before = (demo_checkout.path / file).read_text()
    demo_checkout.touch_code(file)
    ran = demo_checkout.repro()
    assert ran[0] == "train@demo-majority"
    assert not [stage for stage in ran if "mlp" in stage or "mct_hfr" in stage]
    (demo_checkout.path / file).write_text(before)
    demo_checkout.repro()


def test_a_new_method_is_trained_and_nothing_else_is(demo_checkout: Checkout) -> None:
    source = (demo_checkout.path / "pipeline/methods/majority.py").read_text()
    (demo_checkout.path / "pipeline/methods/minority.py").write_text(source)
    demo_checkout.edit(lambda p: p["methods"].update(minority={}))
    assert demo_checkout.repro() == ["train@demo-minority", "evaluate@demo-minority", *TAIL]
    demo_checkout.edit(lambda p: p["methods"].pop("minority"))
    (demo_checkout.path / "pipeline/methods/minority.py").unlink()
    assert not [stage for stage in demo_checkout.repro() if stage.startswith(("train", "evaluate"))]


def test_the_commands_of_the_readme_run_and_an_experiment_reruns_its_method_only(demo_checkout: Checkout) -> None:
    # Those after `make`, as they stand, on the small study; `make` itself installs, which CI does before the tests.
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    commands = [line.split("#")[0].split() for block in blocks[1:] for line in block.splitlines()]
    outputs = {}
    for command in commands:
        if command[0] == "source":
            continue
        module = command[1:] if command[0] == "dvc" else command[2:]
        outputs[" ".join(command[:3])] = demo_checkout.run(*(["dvc", *module] if command[0] == "dvc" else module))
    assert "up to date" in outputs["dvc repro"]
    assert "majority" in outputs["dvc metrics show"]
    assert stages_run(outputs["dvc exp run"]) == ["check", "train@demo-mct_hfr", "evaluate@demo-mct_hfr", *TAIL]
    assert "file://" in outputs["dvc plots diff"]
    assert "layers" in demo_checkout.run("dvc", "params", "diff")
    demo_checkout.edit(lambda p: p["methods"]["mct_hfr"].update(layers=1))
    demo_checkout.repro()


def test_bad_parameters_stop_every_stage_with_one_line_each(demo_checkout: Checkout) -> None:
    models = demo_checkout.path / "data/models/demo/mlp/base"
    before = {path: path.read_bytes() for path in models.rglob("*.safetensors")}
    demo_checkout.edit(lambda p: p["methods"]["mlp"].update(hiden=[8], epochs="two"))
    output = demo_checkout.run("stages.train", "--benchmark", "demo", "--method", "mlp", expect=1)
    assert "params.yaml: methods.mlp.hiden: unknown key, did you mean 'hidden'?" in output
    assert 'params.yaml: methods.mlp.epochs: found "two", expected a whole number' in output
    assert "Traceback" not in output
    assert before
    assert all(path.read_bytes() == content for path, content in before.items())
    demo_checkout.run("stages.check", expect=1)
    demo_checkout.edit(lambda p: p["methods"]["mlp"].update(epochs=2))
    demo_checkout.edit(lambda p: p["methods"]["mlp"].pop("hiden"))


def test_a_params_file_that_is_not_right_stops_dvc_before_anything_else_runs(demo_checkout: Checkout) -> None:
    good = (demo_checkout.path / "params.yaml").read_text()
    models = demo_checkout.path / "data/models/demo/mlp/base"
    demo_checkout.edit(lambda p: p.update(benchmark={}, sede=3))
    demo_checkout.edit(lambda p: p["methods"]["mlp"].update(hiden=[8]))
    output = demo_checkout.run("dvc", "repro", expect=255)
    for line in (
        "params.yaml: benchmark: unknown key, did you mean 'benchmarks'?",
        "params.yaml: sede: unknown key, did you mean 'seed'?",
        "params.yaml: methods.mlp.hiden: unknown key, did you mean 'hidden'?",
    ):
        assert line in output
    assert stages_run(output) == ["check"]
    assert list(models.rglob("*.safetensors"))
    (demo_checkout.path / "params.yaml").write_text(good)
    assert demo_checkout.repro() == []


def test_two_runs_at_once_are_refused(demo_checkout: Checkout) -> None:
    lock = demo_checkout.path / ".scratch/train/demo/mlp"
    lock.mkdir(parents=True, exist_ok=True)
    holder = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.execution.lock import exclusive\n"
        "from stages.train import train\nfrom pipeline import cli\n"
        f"sys.argv = ['train', '--benchmark', 'demo', '--method', 'mlp']\n"
        f"with exclusive(Path({str(lock)!r})):\n    cli.run(train, 'benchmark', 'method')\n"
    )
    (demo_checkout.path / "holder.py").write_text(holder)
    output = demo_checkout.run("holder", expect=1)
    assert "is working on it; wait for it or stop it" in output
    (demo_checkout.path / "holder.py").unlink()


def test_an_empty_study_reproduces_to_a_report_that_says_so(tmp_path: Path) -> None:
    checkout = copy_working_tree(tmp_path)

    def empty(params: dict[str, dict[str, object]]) -> None:
        for section in ("synthetic", "corpora", "features", "benchmarks", "methods"):
            params[section] = {}

    checkout.edit(empty)
    assert sorted(checkout.repro()) == ["costs", "report"]
    assert (checkout.path / "metrics/report.md").read_text()
    shutil.rmtree(checkout.path)


def test_a_study_whose_data_is_missing_is_not_put_in_place(demo_checkout: Checkout) -> None:
    before = (demo_checkout.path / "params.yaml").read_text()
    output = demo_checkout.run("stages.study", "ravdess_clips", expect=1)
    assert "data/raw/ravdess_clips: not there or empty; put the corpus 'ravdess' there" in output
    assert (demo_checkout.path / "params.yaml").read_text() == before


@pytest.mark.real_data
def test_the_study_of_real_clips_runs_and_the_demo_comes_back(tmp_path: Path) -> None:
    clips = ROOT.parent / "shared" / "data" / "ravdess_clips"
    if not clips.is_dir():
        pytest.skip(f"the RAVDESS clips are not at {clips}")
    checkout = copy_working_tree(tmp_path)
    (checkout.path / "data/raw").mkdir(parents=True)
    (checkout.path / "data/raw/ravdess_clips").symlink_to(clips)
    checkout.run("stages.study", "ravdess_clips")
    ran = checkout.repro()
    assert ran[:2] == ["ingest@ravdess_clips", "decode@ravdess_clips"]
    assert len([stage for stage in ran if stage.startswith("extract@ravdess_clips")]) == 3
    assert checkout.repro() == []
    checkout.run("stages.study", "demo")
    assert (checkout.path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()
