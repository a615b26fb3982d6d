"""How a search shows what it does: timestamped lines off a terminal, a panel on one, and a log for programs."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[ *\d+%\] \S")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.jsonl"


def test_a_search_says_everything_once_and_logs_it(cli, tiny, tmp_path, calibrated, monkeypatch, log):
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    one = tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []")
    words = one.search(tmp_path / "run", "--json-log", str(log))
    done = cli(*words)
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert all(LINE.match(line) for line in lines), done.err
    texts = [line[20:].split("] ", 1)[1].split("; about")[0] for line in lines]
    assert len({*texts}) == len(texts)
    for begin in ("data: digits", "plan: 3 candidates", "teacher: right on ", "search 1/3: ", "search 3/3: "):
        assert sum(text.startswith(begin) for text in texts) == 1, begin

    events = [json.loads(line) for line in log.read_text().splitlines()]
    said = [event["text"] for event in events if event["event"] != "progress"]
    assert {text.split("; about")[0] for text in said if text} <= {*texts}
    found = [event for event in events if event["event"] == "candidate"]
    report = json.loads((tmp_path / "run" / "pareto.json").read_text())["searched"]
    assert [event["student"] for event in found] == [row["student"] for row in report]
    for event, row in zip(found, report, strict=True):
        assert event["state"] == "complete"
        assert event["values"]["val_accuracy"] == pytest.approx(row["val_accuracy"])
        assert event["values"]["latency_ms"] == pytest.approx(row["latency_ms"])
    (teacher,) = [event["values"]["val_accuracy"] for event in events if event["event"] == "teacher"]
    verdict = json.loads((tmp_path / "run" / "manifest.json").read_text())["teacher_check"]
    assert teacher == verdict["teacher"]
    assert (events[-1]["event"], events[-1]["state"], events[-1]["share"]) == ("end", "done", 1)

    again = cli(*words, "--quiet")
    assert (again.code, again.err) == (0, "")
    assert again.out == done.out
    more = [json.loads(line) for line in log.read_text().splitlines()][len(events) :]
    assert "candidate" not in {event["event"] for event in more}, "those of the first start"
    assert more[-1]["event"] == "end"


def test_quiet_leaves_errors(refused, tiny, tmp_path):
    assert "no shipped recipe 'nothing'" in refused("search", "nothing", "--out", tmp_path / "run", "--quiet")
    words = ("search", tiny.recipe, "--out", tmp_path / "run", "--dry-run", "--quiet")
    assert "--dry-run plans for this machine alone and says it" in refused(*words)


def test_a_log_that_cannot_be_written_is_said_before_anything_begins(refused, tiny, tmp_path):
    out = tmp_path / "run"
    message = refused(*tiny.search(out, "--json-log", str(tmp_path / "no" / "log.jsonl")))
    assert "cannot be written: No such file" in message
    assert not out.exists()


@pytest.mark.parametrize(("words", "code"), [(["--device", "cuda"], 2), ([], 0)])
def test_on_a_terminal_the_panel_stays_below_and_leaves_a_clean_terminal(run, tiny, words, code):
    """The finished run, again: nothing is trained."""
    command = [sys.executable, "-m", "erde_nas.cli", *tiny.search(run, *words)]
    lead, follow = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follow, env=environment, text=True)
    os.close(follow)
    screen = b""
    while True:
        try:
            read = os.read(lead, 65536)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        screen += read
    os.close(lead)
    answer, _ = child.communicate(timeout=60)
    shown = screen.decode()
    assert child.returncode == code, shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert shown.rindex("\x1b[?25h") > shown.rindex("╭")
    below = shown[shown.rindex("╯") :]
    if code:
        assert re.search(r"\r?\n(\x1b\S*)?error: [^\n]*\n$", below), below
        assert answer == ""
    else:
        assert "data: digits" in shown[: shown.rindex("╭")]
        assert "3 done, 0 failed" in shown
        assert "Report: " in answer
