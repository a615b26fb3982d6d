"""Searching, compressing and training from Python: records, silence, progress, and Ctrl+C."""

import json

import pytest

import erde_nas


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_the_same_search_again_gives_the_run(tiny, folder, capfd):
    heard = []
    run = erde_nas.search(tiny.recipe, folder, profiles=tiny.profile, progress=lambda *told: heard.append(told))
    assert run.folder == folder
    assert run.to_dict() == json.loads((folder / "pareto.json").read_text())
    assert any("data: digits, 10 classes" in text for _, text in heard)
    assert all(0 <= share <= 1 for share, _ in heard)
    assert capfd.readouterr() == ("", ""), "silent"


def test_a_mistake_is_an_error_of_the_users(tiny, tmp_path):
    with pytest.raises(erde_nas.UserError, match="search: trials: should be greater than or equal to 1"):
        erde_nas.search(tiny.recipe, tmp_path / "run", profiles=tiny.profile, trials=0)
    with pytest.raises(erde_nas.UserError, match="no shipped profile 'quick'"):
        erde_nas.search(tiny.recipe, tmp_path / "run", profiles="quick")
    with pytest.raises(erde_nas.UserError, match="must be auto, cpu or cuda, but got 'tpu'"):
        erde_nas.search(tiny.recipe, tmp_path / "run", profiles=tiny.profile, device="tpu")
    assert not (tmp_path / "run").exists()


def test_ctrl_c_is_raised_after_what_is_finished_was_kept(tiny, folder, monkeypatch):
    monkeypatch.setattr("erde_nas.pipeline.finish_shortlist", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        erde_nas.search(tiny.recipe, folder, profiles=tiny.profile)
    assert isinstance(stopped.value, erde_nas.SearchInterrupted)
    assert erde_nas.load_run(stopped.value.folder).results.interrupted is True


def test_ctrl_c_before_anything_is_finished(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("erde_nas.pipeline.load_dataset", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        erde_nas.search(tiny.recipe, tmp_path / "run", profiles=tiny.profile)
    assert not isinstance(stopped.value, erde_nas.SearchInterrupted)


def test_a_target_that_the_run_reaches_already(folder):
    run = erde_nas.compress(folder, target={"accuracy_drop": 0.9})
    assert run.target.reached
    assert run.target.goal == {"accuracy_drop": 0.9}
    reached = erde_nas.Run(folder, run.results).student(run.target.student)
    assert reached.name == run.target.student
    assert run.target.text.splitlines()[0] in run._repr_html_().replace("&#x27;", "'")
    with pytest.raises(erde_nas.UserError, match="'latency' is none of latency_ms, speedup"):
        erde_nas.compress(run, target={"latency": 1.0})
    with pytest.raises(erde_nas.UserError, match="says what --target is about"):
        erde_nas.compress(run, profile="quick")


def test_losses_are_compared(tiny, tmp_path):
    out = tmp_path / "out"
    found = erde_nas.train(tiny.recipe, out, losses=["ce", "kd"], seeds=2)
    assert [(student.loss, student.seed) for student in found] == [("ce", 0), ("ce", 1), ("kd", 0), ("kd", 1)]
    saved = json.loads((out / "distil.json").read_text())
    for entry in saved["losses"]:
        for name, measured in entry["measures"].items():
            own = [student.measures[name] for student in found if student.loss == entry["loss"]]
            assert own == measured["values"], name
    assert found.folder == out
    assert json.dumps(found.summary) == json.dumps(saved), "as text, since a measure may be NaN"
    assert "minus ce" in str(found)
    assert found._repr_html_().count("<tr>") == 5
    with pytest.raises(erde_nas.UserError, match="seeds must be a whole number from 1 to 1000, but got 0"):
        erde_nas.train(tiny.recipe, out, seeds=0)
    with pytest.raises(erde_nas.UserError, match="--student abc needs the folder of a run"):
        erde_nas.train(tiny.recipe, out, student="abc")
