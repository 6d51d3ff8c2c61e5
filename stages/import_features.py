"""Stage import_features: features that others made become a manifest and a feature set per modality."""

from pipeline import cli, paths, registry
from pipeline.data.manifest import Manifest, write_dropped
from pipeline.data.modalities import MODALITIES
from pipeline.data.store import Provenance, write_store
from pipeline.errors import ContractError, DataError
from pipeline.params import load_params
from pipeline.section import options


def import_features(corpus: str) -> None:
    """Import the feature corpus CORPUS."""
    section = load_params(feature_corpora=corpus).feature_corpora[corpus]
    where = f"feature_corpora.{corpus}"
    module = registry.load("importers", section.importer, f"{where}.importer")
    chosen = options(module.Options, section.options, f"{where}.options")
    root = paths.raw(section.raw)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected the features of '{corpus}'; link them: ln -s /where {root}")
    found = module.read(root, chosen)
    reading = found.reading
    if len(reading.kept) + len(reading.dropped) != reading.found or set(found.features) != set(MODALITIES):
        raise ContractError(
            f"pipeline/importers/{section.importer}: {reading.found} found, {len(reading.kept)} kept, "
            f"{len(reading.dropped)} dropped, features of {', '.join(found.features)}; expected every utterance kept "
            f"or dropped, and {', '.join(MODALITIES)}"
        )
    manifest, source = Manifest(reading.kept, str(root)), found.sha256
    for m, sequences in found.features.items():
        if stray := sorted(set(sequences.rows) - set(manifest.ids)):
            raise ContractError(f"pipeline/importers/{section.importer}: {m} of '{stray[0]}', which is no utterance")
        made = Provenance(
            modality=m,
            extractor=section.importer,
            version=module.VERSION,
            options=chosen.model_dump(mode="json"),
            dim=sequences.dim,
            hop=sequences.hop,
            weights_sha256=None,
            source_sha256=source,
        )
        write_store(paths.features(f"{corpus}/{m}"), map(sequences.row, manifest.ids), made)
    write_dropped(paths.dropped(corpus), reading.dropped)
    manifest.write(paths.manifest(corpus))
    absent = {m: len(manifest) - len(sequences.rows) for m, sequences in found.features.items()}
    print(
        f"{corpus}: {reading.found} found, {len(reading.kept)} kept, {len(reading.dropped)} dropped; absent: "
        + ", ".join(f"{m} {count}" for m, count in absent.items())
    )


if __name__ == "__main__":
    cli.run(import_features, "corpus")
