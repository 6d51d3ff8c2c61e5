"""100,000 clips are as safe as 1,000: memory does not grow with the corpus."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A trivial extractor over a generated stream: 4 kB of features per clip. Prints the peak memory of the extraction.
EXTRACTION = """
import json, resource, sys
from pathlib import Path
import numpy as np
from pipeline import registry
from pipeline.data.store import FeatureStore
from pipeline.data.streams import write_text
from pipeline.extraction import runner
from pipeline.extractors import absent
from pipeline.extractors.protocol import Features
from pipeline.schema import FeatureSet

def prepare(self, utt_id, content):
    return int(utt_id)

def extract(self, prepared):
    return [Features(np.full((8, self.dim), number % 251, np.float32)) for number in prepared]

clips, folder = int(sys.argv[1]), Path(sys.argv[2])
write_text(folder / "text.h5", ((f"{clip:06}", "word") for clip in range(clips)), {}, [])
absent.Absent.prepare, absent.Absent.extract, absent.Absent.shard = prepare, extract, 256
params = FeatureSet(
    corpus="c", modality="text", stream="text", extractor="absent", options={"absent": {"dim": 128}}
)
runner.extract_features("f", params, folder / "text.h5", folder / "store.h5", folder / "scratch")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with FeatureStore(folder / "store.h5") as store:
    last = store.row(f"{clips - 1:06}")[0]
    print(json.dumps({"peak": peak, "clips": len(store), "last": float(last.mean())}))
"""


def extracted(clips: int, folder: Path) -> dict[str, float]:
    folder.mkdir()
    environment = {**os.environ, "LACUNA_JOBS": "1", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", EXTRACTION, str(clips), str(folder)]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    few, many = extracted(1_000, tmp_path / "few"), extracted(100_000, tmp_path / "many")
    assert many["clips"] == 100_000
    assert many["last"] == 99_999 % 251
    # 400 MB of features; what grows is the index: ids and offsets, some 400 bytes a clip.
    assert many["peak"] - few["peak"] < 60
