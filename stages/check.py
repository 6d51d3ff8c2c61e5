"""Stage check: params.yaml and the ready-made studies against the code they name; first of all, and for people."""

from pathlib import Path

from pipeline import cli, paths
from pipeline.errors import ParamsError
from pipeline.params import load_params
from pipeline.studies import code_problems, method_problems


def check() -> None:
    """Check params.yaml and every ready-made study."""
    found = []
    for path in [paths.PARAMS, *sorted(paths.STUDIES.glob("*.yaml"))]:
        found += [line.replace("params.yaml", str(path), 1) for line in _problems(path)]
    if found:
        raise ParamsError("\n".join(["the parameters are not right:", *found]))
    print("params: ok")


def _problems(path: Path) -> list[str]:
    try:
        return code_problems(load_params(path), planned=path != paths.PARAMS)
    except ParamsError as error:
        return str(error).splitlines() + method_problems(path)


if __name__ == "__main__":
    cli.run(check)
