"""erde-nas search with `rank_check`: on a finished run, interrupted, and completed."""

import json

import pytest

from erde_nas.searching.rank_check import FILE


@pytest.mark.usefixtures("calibrated")
def test_a_finished_run_is_checked_and_nothing_is_trained_twice(cli, tiny, run, tmp_path, monkeypatch):
    from erde_nas.searching import rank_check

    before = json.loads((run / "pareto.json").read_text())
    assert before["rank_check"] is None
    checked = tiny.variant(tmp_path / "a", "population: 2}", "population: 2, rank_check: 3}")
    whole, groups = rank_check.train_together, []

    def train(jobs, *more):
        groups.append([(job.network.arch.id, job.options.epochs, job.repetition) for job in jobs])
        if len(groups) == 2:
            raise KeyboardInterrupt
        return whole(jobs, *more)

    monkeypatch.setattr("erde_nas.distil.context.trainings_at_once", lambda device: 1)
    monkeypatch.setattr(rank_check, "train_together", train)
    assert cli(*checked.search(run)).code == 130
    assert len(json.loads((run / FILE).read_text())) == 1, "what was trained before the interrupt is kept"
    done = cli(*checked.search(run))
    assert done.code == 0, done.err
    assert "; rank check 3 x 2 epochs; about" in done.err
    trained = [job for group in (groups[0], *groups[2:]) for job in group]
    assert sorted(trained) == sorted((row["student"], 2, 1) for row in before["searched"])

    report = json.loads((run / "pareto.json").read_text())
    rows = report["rank_check"]["candidates"]
    assert {row["student"] for row in rows} == {row["student"] for row in before["searched"]}
    assert all(0 < row["full"] <= 1 and 0 < row["brief"] <= 1 for row in rows)
    assert [row["brief"] for row in rows] == sorted(row["brief"] for row in rows)
    assert "Rank check: Kendall's tau of validation accuracies, 3 candidates" in (run / "report.md").read_text()
    kept = ("searched", "points", "fronts", "rank_correlation")
    assert {key: report[key] for key in kept} == {key: before[key] for key in kept}
    assert json.loads((run / "manifest.json").read_text())["timings_s"]["rank check"] > 0
