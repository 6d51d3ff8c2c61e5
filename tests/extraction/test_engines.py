"""The assembled store has the same bytes, whichever engine computed the shards."""

import pytest

from pipeline.extraction import runner
from pipeline.extractors import hog_face

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture
def local(many, run, tmp_path, monkeypatch) -> bytes:
    monkeypatch.setattr(hog_face.HogFace, "shard", 3)
    return run(many, tmp_path / "local" / "store.h5", "hog_face", "faces").path.read_bytes()


@pytest.mark.parametrize("engine", ["slurm", "ray"])
def test_store_is_the_same_from_a_cluster(many, run, tmp_path, local, monkeypatch, engine):
    monkeypatch.setenv("LACUNA_ENGINE", engine)
    monkeypatch.setenv("LACUNA_SLURM", "cluster=local")
    monkeypatch.setenv("LACUNA_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("LACUNA_JOBS", "2")
    # Workers import the module afresh: their shards have the usual size, and are told which utterances are theirs.
    here = []
    monkeypatch.setattr(runner.shards, "compute", lambda shards: here.append(shards) or iter(()))
    with run(many, tmp_path / engine / "store.h5", "hog_face", "faces") as store:
        assert len(store) == 21
    assert not here, "nothing is computed in this process"
    assert (tmp_path / engine / "store.h5").read_bytes() == local
