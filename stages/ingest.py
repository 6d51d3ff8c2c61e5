"""Stage ingest: a corpus as its owner ships it becomes a manifest, and a table of what was left out and why."""

from pipeline import cli, paths, registry
from pipeline.data.manifest import Manifest, write_dropped
from pipeline.errors import ContractError, DataError
from pipeline.params import load_params
from pipeline.section import options


def ingest(corpus: str) -> None:
    """Read the corpus CORPUS."""
    params = load_params(corpora=corpus)
    section = params.corpora[corpus]
    module = registry.load("corpora", section.reader, f"corpora.{corpus}.reader")
    chosen = options(module.Options, section.options, f"corpora.{corpus}.options")
    root = paths.raw(corpus)
    if not root.is_dir() or not any(root.iterdir()):
        state = "is empty" if root.is_dir() else "is not a folder" if root.exists() else "no such folder"
        raise DataError(
            f"{root}: {state}, expected the corpus '{corpus}' as its owner ships it; put it there or link it there "
            f"(ln -s /where/it/is {root})"
        )
    reading = module.read(root, chosen)
    kept, dropped = len(reading.kept), len(reading.dropped)
    if kept + dropped != reading.found:
        raise ContractError(
            f"pipeline/corpora/{section.reader}: {reading.found} clips found, but {kept} kept + {dropped} dropped = "
            f"{kept + dropped}; every clip must be one or the other"
        )
    manifest = Manifest(reading.kept, str(root))
    manifest.check_files()
    write_dropped(paths.dropped(corpus), reading.dropped)
    manifest.write(paths.manifest(corpus))
    print(f"{corpus}: {reading.found} found, {kept} kept, {dropped} dropped")


if __name__ == "__main__":
    cli.run(ingest, "corpus")
