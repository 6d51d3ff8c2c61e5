"""Views side by side."""

from collections.abc import Callable

import torch

from pipeline.data.batch import side_by_side
from pipeline.data.dataset import Dataset

Make = Callable[..., Dataset]


def test_views_stand_one_after_the_other_on_one_table(make_data: Make) -> None:
    data = make_data({"text": [2, 3], "audio": [0, 0], "vision": [1, 0]})
    keep = {m: torch.zeros(len(column.values), dtype=torch.bool) for m, column in data.columns.items()}
    batch = data.batch(torch.arange(2), keep, complete=True)
    steps, valid = side_by_side([batch, batch.unmasked()])
    assert batch.complete is not None
    for m in ("text", "vision"):
        assert torch.equal(steps[m].dense(), torch.cat([batch.features[m], batch.complete[m]]))
        assert steps[m].table is batch.features.steps[m].table
        assert torch.equal(valid[m], torch.cat([batch.valid[m], batch.valid[m]]))
    assert steps["audio"].dense().shape == (4, 1, 2)
    assert not steps["audio"].dense().any()
    assert not valid["audio"].any()
