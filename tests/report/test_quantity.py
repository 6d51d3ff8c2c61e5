"""Metrics as people read them: units, direction, and who wins."""

from pipeline.report.quantity import Quantity, primary_metric, quantity
from pipeline.report.table import Cell

SHARE, ERROR = Quantity("ACC"), Quantity("MAE", percent=False, lower=True)


def test_shares_are_written_in_percent_and_other_numbers_as_they_are() -> None:
    assert (SHARE.text(0.12345), SHARE.text(0.12345, 1)) == ("12.35", "12.3")
    assert (ERROR.text(0.98765), ERROR.text(0.98765, 1)) == ("0.988", "0.99")
    assert (SHARE.said, ERROR.said) == ("ACC in %", "MAE (lower is better)")


def test_an_estimate_without_interval_has_no_note() -> None:
    assert SHARE.estimate({"mean": 0.5, "low": None, "high": None}) == Cell("50.00")
    assert SHARE.estimate({"mean": 0.5, "low": 0.4, "high": 0.6}, 1) == Cell("50.0", "[40.0, 60.0]")
    assert ERROR.estimate({"mean": 0.5, "low": 0.4, "high": 0.6}) == Cell("0.500", "[0.400, 0.600]")


def test_only_an_interval_better_than_all_others_wins() -> None:
    def found(low: float | None, high: float | None) -> dict:
        return {"low": low, "high": high}

    assert SHARE.clear_winner([found(0.1, 0.2), found(0.5, 0.6), found(0.3, 0.4)]) == 1
    assert ERROR.clear_winner([found(0.1, 0.2), found(0.5, 0.6), found(0.3, 0.4)]) == 0
    assert SHARE.clear_winner([found(0.1, 0.2), found(0.5, 0.6), found(0.3, 0.55)]) is None
    assert ERROR.clear_winner([found(0.1, 0.2), found(0.15, 0.6)]) is None
    assert SHARE.clear_winner([found(0.1, 0.2)]) is None
    assert SHARE.clear_winner([found(0.1, 0.2), found(None, None)]) is None


def test_a_metric_that_the_task_lacks_gives_way_to_the_main_one() -> None:
    described = {"MAE": {"means": "", "better": "lower", "percent": False}}
    scores = {"metrics": ["MAE"], "main": "MAE", "measures": described}
    assert primary_metric(scores, "UAR") == "MAE"
    assert primary_metric({"metrics": ["ACC", "UAR"], "main": "UAR"}, "ACC") == "ACC"
    assert quantity(scores, "MAE") == ERROR
