"""Put a ready-made study in place as params.yaml, once all that it needs is here; for people, not in the DAG."""

import shutil

from pipeline import cli, paths
from pipeline.errors import DataError, ParamsError
from pipeline.files import atomic
from pipeline.params import load_params
from pipeline.studies import code_problems, data_problems, stale_artifacts


def study(name: str) -> None:
    """Check the study NAME against the code and data that are here, then make it params.yaml."""
    source = paths.STUDIES / f"{name}.yaml"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in paths.STUDIES.glob("*.yaml")))
        raise ParamsError(f"{source}: no such study, expected one of {known}")
    params = load_params(source)
    problems = [*code_problems(params), *data_problems(params)]
    if found := dict.fromkeys(line.replace("params.yaml", str(source), 1) for line in problems):
        raise DataError("\n".join([f"{name}: not complete, params.yaml stays as it is:", *found]))
    with atomic(paths.PARAMS) as temporary:
        shutil.copyfile(source, temporary)
    for path in stale_artifacts(params):
        path.unlink()
    print(f"params.yaml is now the study '{name}'; `dvc repro` runs it, `python -m stages.study demo` goes back")


if __name__ == "__main__":
    cli.run(study, positional="name")
