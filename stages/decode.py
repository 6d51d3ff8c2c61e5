"""Stage decode: the media of one corpus become packed streams of text, sound, face crops and frames."""

from pipeline import cli, paths
from pipeline.data.manifest import Manifest
from pipeline.decode.runner import decode_corpus
from pipeline.params import load_params


def decode(corpus: str) -> None:
    """Decode every file of CORPUS once."""
    params = load_params(corpora=corpus)
    done = decode_corpus(
        corpus,
        Manifest.read(paths.manifest(corpus)),
        params.corpora[corpus].decode,
        paths.decoded(corpus),
        paths.scratch() / "decode" / corpus,
    )
    absent = ", ".join(f"{modality} {count}" for modality, count in done.absent.items())
    print(
        f"{corpus}: {done.clips} clips, {done.hours:.3f} h of media; naturally absent: {absent}; "
        f"{done.quarantined} quarantined"
    )


if __name__ == "__main__":
    cli.run(decode, "corpus")
