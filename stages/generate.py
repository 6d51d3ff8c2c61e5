"""Stage generate: a synthetic corpus, in place of one that an owner ships."""

from pipeline import cli, paths, registry
from pipeline.params import load_params
from pipeline.section import options


def generate(corpus: str) -> None:
    """Make the synthetic corpus CORPUS."""
    params = load_params(synthetic=corpus)
    section = params.synthetic[corpus]
    module = registry.load_generator(section.generator, f"synthetic.{corpus}.generator")
    chosen = options(module.Options, section.options, f"synthetic.{corpus}.options")
    module.generate(paths.raw(corpus), chosen, params.seed)


if __name__ == "__main__":
    cli.run(generate, "corpus")
