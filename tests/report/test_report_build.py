"""The files of a report: they parse back, they need no network, hostile text stays text, a failure changes nothing."""

import copy
import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from erde_nas.errors import UserError
from erde_nas.report import build
from erde_nas.report.build import pareto_csv, write_report
from erde_nas.report.facts import run_facts
from erde_nas.report.markdown import markdown
from erde_nas.report.page import page
from erde_nas.report_data.report_file import report_json
from tests.report.conftest import BARE, Draft, model

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> | $x_{$ \"'&"


class _Tags(HTMLParser):
    """Collects every tag with its attributes, and the text outside <script> and <style>."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag not in ("script", "style"):
            self.text += data


def _parse(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    return tags


@pytest.fixture
def hostile(report: Draft) -> Draft:
    """Every free text of the report tries to break out."""
    for point in report["points"]:
        point["student"] = HOSTILE
        point["reason"] = HOSTILE
    for baseline in report["baselines"]:
        baseline["student"] = HOSTILE
    for key in ("recipe", "created"):
        report[key] = HOSTILE
    report["dataset"] |= {"name": HOSTILE, "classes": [HOSTILE, "b"], "remarks": [HOSTILE, "left out: 1 hidden (.a)"]}
    report["dataset"]["images_per_class"] = {"train": [5, 6], "validation": [1, 2], "test": [3, 4]}
    report["searched"][0] |= {"student": HOSTILE, "reason": HOSTILE}
    report["environment"]["cpu"] = HOSTILE
    report["profiles"][HOSTILE] = report["profiles"]["cpu-1thread"]
    report["teacher"]["latency_ms"][HOSTILE] = report["teacher"]["latency_ms"]["cpu-1thread"]
    return report


def test_writes_all_files_and_nothing_else(tmp_path: Path, report: Draft) -> None:
    before = copy.deepcopy(report)
    paths = write_report(tmp_path / "run", model(report))
    names = {"pareto.json", "pareto.csv", "report.md", "report.html", "front.png"}
    assert {path.name for path in paths} == names == {path.name for path in (tmp_path / "run").iterdir()}
    assert json.loads((tmp_path / "run" / "pareto.json").read_text(encoding="utf-8")) == report == before
    with Image.open(tmp_path / "run" / "front.png") as image:
        assert image.width == 1400


def test_json_has_null_for_what_json_cannot_say(report: Draft) -> None:
    first, *others = model(report).points
    odd = replace(model(report), points=(replace(first, thresholds=(float("inf"), float("nan"))), *others))
    assert json.loads(report_json(odd), parse_constant=pytest.fail)["points"][0]["thresholds"] == [None, None]


def test_csv_parses_back(report: Draft) -> None:
    report["points"][0]["reason"] = 'a, "b"\nc'
    lines = list(csv.DictReader(io.StringIO(pareto_csv(model(report)), newline="")))
    points = [*report["points"], *report["baselines"], report["teacher"]]
    others = ["teacher_with_exits", "student_without_exits", "teacher"]
    assert [line["role"] for line in lines] == ["student"] * len(report["points"]) + others
    for line, point in zip(lines, points, strict=True):
        for key in ("student", "stage", "role", "reason"):
            assert line[key] == point[key]
        for key in ("val_accuracy", "test_accuracy", "macs", "params", "size_bytes"):
            assert (float(line[key]) if line[key] else None) == point[key]
        for key in ("thresholds", "exit_fractions", "exit_accuracy", "macs_per_exit", "test_accuracy_ci95"):
            assert [float(text) for text in line[key].split()] == list(point[key] or [])
        for profile in report["profiles"]:
            entry = point["latency_ms"].get(profile, {})
            for key in ("mean", "p50", "p95", "p99", "expected_mean"):
                text = line[f"{profile}.{key}_ms"]
                assert (float(text) if text else None) == entry.get(key)
            assert line[f"{profile}.source"] == entry.get("source", "")
    assert float(lines[-1]["cpu-1thread.speed_up"]) == 1.0
    on_front = {i for i, line in enumerate(lines) if "cpu-1thread" in line["fronts"].split()}
    assert on_front == set(report["fronts"]["cpu-1thread"])


def test_page_needs_no_network(report: Draft) -> None:
    html = page(model(report))
    tags = _parse(html)
    for tag, attributes in tags.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for key in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(key) or "#").startswith("#")
    policy = next(a["content"] for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert len(html) < 250_000


def test_page_says_what_it_must(report: Draft) -> None:
    tags = _parse(page(model(report)))
    assert ("html", {"lang": "en"}) in tags.tags
    assert ("meta", {"charset": "utf-8"}) in tags.tags
    assert any(attributes.get("name") == "viewport" for _, attributes in tags.tags)
    for text in (
        "erde-nas: fashion-quick",
        "Student c51e0f9a33 (quantized) is 8.4 times",
        "17 trials, 1 failed",
        "exit 1 answers log(10) for every image: its head is dead",
        "slower than its fp32 file under cpu-1thread",
        "test images were read once",
        "onnxruntime 1.31.1",
        "latency_ms <= 2",
    ):
        assert text in tags.text
    assert "interrupted" not in tags.text
    assert "interrupted" in _parse(page(model({**report, "interrupted": True}))).text


def test_page_keeps_hostile_text_as_text(report: Draft, hostile: Draft) -> None:
    tags = _parse(page(model(hostile)))
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in tags.tags)
    clean = [tag for tag, _ in tags.tags].count("script")
    assert clean == 3  # the theme's, the data, the page's own
    assert tags.text.count(HOSTILE) > 10


def test_markdown_keeps_hostile_text_as_text(hostile: Draft) -> None:
    text = markdown(model(hostile))
    assert "<script" not in text
    assert "<img" not in text
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| ") and "finished" in line}
    assert all(width > 0 for width in widths)
    assert "\\|" in text


def test_what_was_taken_of_the_data_is_in_the_report(report: Draft) -> None:
    report["dataset"] |= {"classes": ["ant", "bee"], "remarks": ["val/ is test", "left out: 1 hidden (.a)"]}
    report["dataset"]["images_per_class"] = {"train": [5, 6], "validation": [1, 2], "test": [3, 4]}
    facts = dict(run_facts(model(report)))
    assert facts["Images per class"] == "train + validation + test: ant 5 + 1 + 3, bee 6 + 2 + 4"
    assert facts["About the data"] == "val/ is test; left out: 1 hidden (.a)"


def test_all_files_can_be_written_with_hostile_text(tmp_path: Path, hostile: Draft) -> None:
    assert all(path.stat().st_size for path in write_report(tmp_path, model(hostile)))


@pytest.mark.parametrize("teacher", [False, True])
def test_every_extension_may_be_absent(tmp_path: Path, report: Draft, teacher: bool) -> None:
    bare = {**BARE, "teacher": report["teacher"]} if teacher else BARE
    assert len(write_report(tmp_path, model(bare))) == 5
    extensions = ("role", "reason", "dominated", "offered", "exit_accuracy")
    points = [{key: value for key, value in point.items() if key not in extensions} for point in report["points"]]
    for point in points:
        for entry in point["latency_ms"].values():
            for key in ("iqr_over_median", "note"):
                del entry[key]
    assert len(write_report(tmp_path, model({**bare, "points": points}))) == 5


def test_points_without_architecture_macs_or_test_accuracy(tmp_path: Path, report: Draft) -> None:
    for point in report["points"]:
        point |= dict.fromkeys(("arch", "macs", "macs_per_exit", "params", "size_bytes", "file", "test_accuracy"))
        point["test_accuracy_ci95"] = None
    assert len(write_report(tmp_path, model(report))) == 5


@pytest.mark.parametrize("failing", ["front.png", "report.md"])
def test_a_failure_while_writing_leaves_the_former_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    former = {path.name: path.read_bytes() for path in write_report(tmp_path, model(BARE))}
    write = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        if path.name == failing:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        write_report(tmp_path, model({**BARE, "recipe": "new"}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == former


def test_a_failure_while_drawing_leaves_the_former_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former = {path.name: path.read_bytes() for path in write_report(tmp_path, model(BARE))}

    def broken(_: Draft) -> bytes:
        raise RuntimeError("no font")

    monkeypatch.setattr(build, "front_png", broken)
    with pytest.raises(RuntimeError, match="no font"):
        write_report(tmp_path, model({**BARE, "recipe": "new"}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == former


def test_report_needs_neither_torch_nor_pyplot() -> None:
    code = "import sys, erde_nas.report.build; print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": str(Path(build.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
