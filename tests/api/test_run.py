"""A run's front, its best student, its report: against what stands in pareto.json."""

import json
import shutil
from dataclasses import replace

import pytest

import erde_nas


@pytest.fixture
def run(folder):
    return erde_nas.load_run(folder)


@pytest.fixture
def report(folder):
    return json.loads((folder / "pareto.json").read_text())


def means(report, indices) -> list[float]:
    return [report["points"][index]["latency_ms"]["quick"]["mean"] for index in indices]


def test_points_and_front_are_those_of_the_report(run, report):
    assert [(s.name, s.stage, list(s.thresholds)) for s in run.points()] == [
        (p["student"], p["stage"], p["thresholds"]) for p in report["points"]
    ]
    front = run.front()
    assert [s.latency().mean for s in front] == means(report, report["fronts"]["quick"])
    assert [s.name for s in run.front("macs")] == [report["points"][i]["student"] for i in report["fronts"]["macs"]]
    assert run.front("quick") == front
    assert run.teacher.test_accuracy == report["teacher"]["test_accuracy"]
    assert [s.point.role for s in run.baselines] == [p["role"] for p in report["baselines"]]
    assert (run.recipe.name, [p.name for p in run.profiles]) == ("tiny", ["quick"])


def test_the_best_is_the_fastest_that_is_accurate_enough(run, report):
    teacher = report["teacher"]["val_accuracy"]
    measured = [p for p in report["points"] if p["offered"] and p["latency_ms"]["quick"]["mean"] is not None]
    for drop in sorted({teacher - p["val_accuracy"] for p in measured}):
        fit = [p["latency_ms"]["quick"]["mean"] for p in measured if teacher - p["val_accuracy"] <= drop + 1e-9]
        assert run.best(max_drop=drop).latency("quick").mean == min(fit)
    with pytest.raises(erde_nas.UserError, match=r"no student of .* is within max_drop=-1 of the teacher's accuracy"):
        run.best(max_drop=-1)


def test_a_name_that_is_none(run, folder):
    with pytest.raises(erde_nas.UserError, match=f"{folder} has no profile 'quik'; it has quick"):
        run.best("quik")
    with pytest.raises(erde_nas.UserError, match="has no profile 'quik'; it has macs, quick"):
        run.front("quik")
    with pytest.raises(erde_nas.UserError, match=f"{folder} has no student 'nobody'; it has "):
        run.student("nobody")


def test_a_searched_student_has_no_file_and_several_profiles_need_a_name(run, folder):
    searched = next(s for s in run.points() if s.stage == "searched")
    with pytest.raises(erde_nas.UserError, match=f"has no deployable file of '{searched.name}'"):
        searched.predict(folder)
    assert "~" in str(searched), "its latency is estimated"
    both = [replace(p, latency_ms={**p.latency_ms, "other": p.latency_ms["quick"]}) for p in run.results.points]
    profiles = {**run.results.profiles, "other": run.results.profiles["quick"]}
    fronts = {**run.results.fronts, "other": ()}
    data = replace(run.results, points=tuple(both), profiles=profiles, fronts=fronts)
    two = erde_nas.Run(folder, data)
    on_any = [two.points()[index] for index in sorted(fronts["quick"])]
    assert list(two.front()) == on_any, "on the front of any profile, in the order of the report"
    with pytest.raises(erde_nas.UserError, match="has several profiles; say which one: quick, other"):
        two.best()


def test_the_report_is_written_again(run, folder):
    (folder / "report.md").unlink()
    paths = run.report()
    assert {path.name for path in paths} == {"pareto.json", "pareto.csv", "report.md", "report.html", "front.png"}
    assert all(path.parent == folder and path.stat().st_size for path in paths)


def test_it_shows_itself(run, cli, folder):
    shown = cli("report", folder).out
    assert shown == f"{run}\n\nReport: {folder / 'report.html'}\n", "as the command line does"
    best = run.front()[0]
    assert best.name in str(run.front())
    assert repr(best) == str(best)
    html = run._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 1
    assert f"<td>{best.name}</td>" in html.replace(' style="text-align: right"', "").replace("<br>", "")
    rows = run.points()._repr_html_().count("<tr>")
    assert rows == len(run.points()) + 1, "one per point and the header"


def test_what_is_shown_is_escaped(run, folder):
    first, *others = run.results.points
    hostile = replace(run.results, points=(replace(first, student="<b>&"), *others))
    assert "<b>" not in erde_nas.Run(folder, hostile).points()._repr_html_()


def test_a_folder_without_a_report(folder, tmp_path):
    with pytest.raises(erde_nas.UserError, match="holds no run; start one with `erde-nas search RECIPE --out"):
        erde_nas.load_run(tmp_path / "nowhere")
    (folder / "pareto.json").unlink()
    with pytest.raises(erde_nas.UserError, match="holds a run without a report yet; continue it"):
        erde_nas.load_run(folder)
    (folder / "pareto.json").write_text("{")
    with pytest.raises(erde_nas.UserError, match="is damaged"):
        erde_nas.load_run(folder)


def test_a_student_is_exported_as_the_command_does(run, folder, cli, tmp_path, shortlisted):
    student = run.student(shortlisted)
    mine, function = tmp_path / "mine", tmp_path / "function"
    paths = student.export(mine, formats=["onnx"])
    assert paths[-1] == mine / "student.json"
    erde_nas.export(folder, shortlisted, function, formats=["onnx"])
    assert cli("export", folder, "--student", shortlisted, "--to", tmp_path / "cli", "--format", "onnx").code == 0
    for path in paths:
        name = path.relative_to(mine)
        assert path.read_bytes() == (tmp_path / "cli" / name).read_bytes() == (function / name).read_bytes(), name
    with pytest.raises(erde_nas.UserError, match="exists already; give a new folder"):
        student.export(mine)
    shutil.rmtree(mine)
