"""distil.json and the tables made of it."""

import csv
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from erde_nas.comparison.figure import figure_png
from erde_nas.comparison.store import TrainedStudent
from erde_nas.comparison.summary import summarise
from erde_nas.comparison.tables import csv_rows, headline, markdown
from erde_nas.recipe.distil import DistilSection

Labels = tuple[np.ndarray, np.ndarray]
LOSSES = {"erde": DistilSection(), "kd": DistilSection(loss="kd"), "ce": DistilSection(loss="ce")}


@pytest.fixture
def summary(make_trained: Callable[..., TrainedStudent], labels: Labels) -> dict:
    """ERDE with three seeds, KD with two of them, cross-entropy with none that finished."""
    runs = {
        "erde": [make_trained("erde", seed, 1.2) for seed in range(3)],
        "kd": [make_trained("kd", seed, 0.8) for seed in (0, 2)],
        "ce": [],
    }
    found = summarise(LOSSES, runs, *labels)
    teacher = {"test_accuracy": [0.5, 0.75], "right_in_training": [0.6, 0.8]}
    return {**found, "dataset": {"name": "toy"}, "student": "0123456789", "teacher": teacher}


def test_means_and_paired_differences(
    summary: dict, make_trained: Callable[..., TrainedStudent], labels: Labels
) -> None:
    def accuracy(signal: float, seed: int) -> float:
        return float((make_trained("x", seed, signal).test[2].argmax(-1) == labels[1]).mean())

    erde, kd, ce = summary["losses"]
    assert erde["measures"]["accuracy.3"]["mean"] == pytest.approx(np.mean([accuracy(1.2, s) for s in range(3)]))
    pairs = [(accuracy(0.8, s), accuracy(1.2, s)) for s in (0, 2)]
    found = kd["difference"]["accuracy.3"]
    assert found["mean"] == pytest.approx(np.mean([a - b for a, b in pairs]))
    assert found["p"] == pytest.approx(stats.ttest_rel(*zip(*pairs, strict=True)).pvalue)
    assert found["n"] == 2
    assert ce["seeds"] == []
    assert "measures" not in ce


def test_the_summary_is_json(summary: dict) -> None:
    assert json.loads(json.dumps(summary))["reference"] == "erde"


def test_curves_have_a_value_at_every_budget(summary: dict) -> None:
    assert summary["budgets"][0] == 100
    assert summary["budgets"][-1] == 300
    for entry in summary["losses"][:2]:
        assert {len(values) for values in entry["curve"].values()} == {len(summary["budgets"])}
    assert set(summary["losses"][0]["curve"]["difference"]) == {0.0}


def test_tables_show_every_loss(summary: dict) -> None:
    first, second = headline(summary)
    rows = [line.split()[0] for line in first.splitlines()[2:]]
    assert rows == ["erde", "kd", "ce"]
    assert "failed" in first.splitlines()[-1]
    assert second.splitlines()[0].startswith("minus erde")
    assert [line.split()[0] for line in second.splitlines()[2:]] == ["kd"]
    mean = summary["losses"][0]["measures"]["area"]["mean"]
    assert f"{100 * mean:.1f} ±" in first
    text = markdown(summary)
    assert "50.0 / 75.0" in text
    assert "| ECE 1" in text


def test_the_csv_has_a_row_per_loss_and_seed(summary: dict) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_rows(summary))))
    assert [(row["loss"], row["seed"]) for row in rows] == [
        ("erde", "0"),
        ("erde", "1"),
        ("erde", "2"),
        ("kd", "0"),
        ("kd", "2"),
    ]
    values = summary["losses"][1]["measures"]["ece.2"]["values"]
    assert [float(row["ece.2"]) for row in rows[3:]] == pytest.approx(values, rel=1e-5)


def test_the_figure_is_a_png(summary: dict) -> None:
    assert figure_png(summary)[:8] == b"\x89PNG\r\n\x1a\n"
