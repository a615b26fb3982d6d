"""erde-nas search: run again, for longer, with other wishes, and in a folder that is not its own."""

import json

import pytest

from erde_nas.run.folder import RunStore


def results(folder) -> dict:
    """The report without what differs from call to call."""
    report = json.loads((folder / "pareto.json").read_text())
    return {key: value for key, value in report.items() if key not in ("created", "environment")}


def stamps(folder) -> dict:
    """When each network was written."""
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


@pytest.fixture
def trained(monkeypatch) -> list:
    """One entry per student that is trained from now on: how many epochs."""
    from erde_nas.distil.training import together

    original, calls = together.train, []

    def spy(training, *more):
        calls.append(training.options.epochs)
        return original(training, *more)

    monkeypatch.setattr(together, "train", spy)
    return calls


def test_the_same_command_again_does_nothing_twice(cli, tiny, run, trained):
    before, times, measured = results(run), stamps(run / "students"), (run / "measured.json").stat().st_mtime_ns
    done = cli(*tiny.search(run))
    assert done.code == 0, done.err
    assert trained == []
    assert stamps(run / "students") == times
    assert (run / "measured.json").stat().st_mtime_ns == measured
    assert results(run) == before
    assert "quick: onnxruntime, cpu, 1 thread, int8, batch 1" in done.out
    assert done.out.rstrip().endswith(f"Report: {run / 'report.html'}")


def test_more_trials_go_on_with_what_is_there(cli, tiny, run, shortlisted, trained, monkeypatch):
    before, times, measured = results(run), stamps(run / "students"), []
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda run, students, *_: measured.append(students))
    done = cli(*tiny.search(run, "--trials", "4"))
    assert done.code == 0, done.err
    after = results(run)
    assert after["searched"][:3] == before["searched"]
    assert len({row["student"] for row in after["searched"]}) == 4
    assert all(stamps(run / "students")[path] == time for path, time in times.items() if shortlisted in str(path))
    assert {shortlisted, f"{shortlisted}-p50"} <= set(measured[0]), "what was finished stays in the report"
    assert "search 4/4: " in done.err
    assert "search 3/4" not in done.err
    assert len(trained) <= 4, "the new candidate, its two rungs if it is shortlisted, and its pruning"


def test_a_small_space_ends_early(cli, tiny, tmp_path, calibrated):
    choices = "stems: [8, 16]\n  depths: [[1], [1, 2]]\n  widths: [[16], [16, 24]]"
    one = tiny.variant(tmp_path / "a", choices, "stems: [8]\n  depths: [[1]]\n  widths: [[16]]\n  max_exits: 1")
    one = one.variant(tmp_path / "b", "int8", "fp32")
    done = cli(*one.search(tmp_path / "run", "--epochs-scale", "0.5"))
    assert done.code == 0, done.err
    assert "search ended: all 1 architectures of the search space have been proposed" in done.err
    saved = (tmp_path / "run" / "recipe.yaml").read_text()
    assert saved.count("epochs: 1\n") == 3, "a half of two epochs, three times"
    assert saved.count("epochs: 3\n") == 1, "a half of the teacher's six"
    # A student with one exit is a student too.
    report = results(tmp_path / "run")
    assert {tuple(point["exit_fractions"]) for point in report["points"]} == {(1.0,)}


def test_a_teacher_that_is_worse_than_a_student_teaches_nobody(cli, tiny, tmp_path, calibrated, monkeypatch):
    from erde_nas.distil.context import TrainingContext

    losses = []
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    original = TrainingContext.training

    def spy(self, network, options, section=None, repetition=0):
        losses.append((section or self.recipe.distil).loss)
        return original(self, network, options, section, repetition)

    monkeypatch.setattr(TrainingContext, "training", spy)
    useless = tiny.variant(
        tmp_path / "a",
        "train: {epochs: 6, batch_size: 20, learning_rate: 0.05}",
        "train: {epochs: 1, batch_size: 20, learning_rate: 1.0e-9}",
    )
    useless = useless.variant(tmp_path / "b", "prune: [0.5]", "prune: []")
    useless = useless.variant(tmp_path / "c", "epochs: 2", "epochs: 8")  # of a candidate
    done = cli(*useless.search(tmp_path / "run", "--trials", "1"))
    assert done.code == 0, done.err
    assert "learnt briefly without it on" in done.err
    assert "students learn without it, with cross-entropy; give a better teacher" in done.err
    assert set(losses) == {"ce"}
    report = json.loads((tmp_path / "run" / "pareto.json").read_text())
    assert report["teacher_check"]["teacher"] < report["teacher_check"]["student"]
    assert "not used: right on" in (tmp_path / "run" / "report.md").read_text()
    assert RunStore(tmp_path / "run").recipe().distil.loss == "kd+entropy", "the recipe stays as it was given"

    losses.clear()
    trusting = useless.variant(tmp_path / "d", "population: 2}", "population: 2, check_teacher: false}")
    done = cli(*trusting.search(tmp_path / "other", "--trials", "1"))
    assert done.code == 0, done.err
    assert set(losses) == {"kd+entropy"}


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["--seed", "5"], "recipe.search"),
        (["--epochs-scale", "3"], "recipe.compress, recipe.finish, recipe.supernet, recipe.teacher"),
    ],
)
def test_another_recipe_in_the_same_folder(refused, tiny, run, more, differs):
    before = results(run)
    message = refused(*tiny.search(run, *more))
    assert "\n" not in message
    assert f"holds another run (recipe 'tiny'): {differs}" in message
    assert results(run) == before


def test_another_profile_in_the_same_folder(refused, tiny, run, tmp_path):
    changed = tiny.variant(tmp_path / "changed", "precision: int8", "precision: fp32")
    assert "profiles differ" in refused(*changed.search(run))


def test_a_strangers_folder(refused, tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    assert "is not empty (thesis.tex) and holds no run" in refused(*tiny.search(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_at_work_keeps_others_out(refused, tiny, run):
    from erde_nas.run.folder import locked

    with locked(run):
        assert "another erde-nas is at work" in refused(*tiny.search(run))


def test_a_pruned_student_that_failed_is_left_out_again(cli, tiny, run, shortlisted, monkeypatch):
    pruned = run / "students" / f"{shortlisted}-p50"
    (pruned / "weights.safetensors").unlink()
    (pruned / "metrics.json").write_text('{"stage": "failed", "reason": "exit 0 is dead"}')
    measured = []
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda run, students, *_: measured.append(students))
    done = cli(*tiny.search(run))
    assert done.code == 0, done.err
    assert shortlisted in measured[0]
    assert pruned.name not in measured[0]


def test_a_shortlist_that_failed_says_so_again(refused, tiny, run):
    for metrics in (run / "students").glob("*/metrics.json"):
        metrics.write_text('{"stage": "failed", "reason": "exit 0 is dead"}')
    message = refused(*tiny.search(run))
    assert "no student of the shortlist could be finished: lower finish.train.learning_rate" in message
