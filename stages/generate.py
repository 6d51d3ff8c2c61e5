"""Stage generate: a synthetic corpus, in place of one that an owner ships."""

import importlib

from pipeline import cli, paths, registry
from pipeline.errors import ParamsError
from pipeline.params import load_params, options


def generate(corpus: str) -> None:
    """Make the synthetic corpus CORPUS."""
    params = load_params()
    if corpus not in params.synthetic:
        known = ", ".join(sorted(params.synthetic)) or "none"
        raise ParamsError(f"params.yaml: synthetic: no '{corpus}', expected one of: {known}")
    section = params.synthetic[corpus]
    package = registry.load("corpora", section.generator)
    try:
        module = importlib.import_module(f"{package.__name__}.generate")
    except ModuleNotFoundError as error:
        if error.name != f"{package.__name__}.generate":
            raise
        raise ParamsError(
            f"params.yaml: synthetic.{corpus}.generator: pipeline/corpora/{section.generator} has no module "
            "`generate`, expected a synthetic corpus such as 'demo'"
        ) from None
    chosen = options(module.Options, section.options, f"synthetic.{corpus}.options")
    module.generate(paths.raw(corpus), chosen, params.seed)


if __name__ == "__main__":
    cli.run(generate, "corpus")
