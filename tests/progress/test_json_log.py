"""The log for programs: one object per event and line, whole as soon as it is written."""

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from erde_nas.errors import UserError
from erde_nas.progress.event import Candidate
from erde_nas.progress.meter import Meter

COMMON = {"time", "event", "stage", "share", "left_s", "text"}


def silent(path: Path) -> Meter:
    return Meter(tell=lambda share, text: None, json_log=path)


def lines(path: Path) -> list[dict]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_every_event_is_a_line(tmp_path: Path) -> None:
    path, begin = tmp_path / "log.jsonl", datetime.now(timezone.utc)
    with silent(path) as meter:
        meter.plan({"search": 10})
        meter.say("data: digits")
        assert len(lines(path)) == 1, "it is there at once"
        meter.teacher(0.875)
        meter.add("search", 1, "1/3")
        meter.candidate(Candidate("aa", "complete", 0.5, 2e6, {"cpu": 0.5}), 1, "1/3: aa")
        meter.candidate(Candidate("bb", "failed"), 1, "2/3: bb failed")
        meter.candidate(Candidate("cc", "over limits", 0.25, 1e6, {"cpu": 0.25}), 1, "3/3: cc")
        meter.close("search")
    found = lines(path)
    assert [(one["event"], one["stage"], one["text"]) for one in found] == [
        ("note", "start", "data: digits"),
        ("teacher", "start", "teacher: right on 87.5% of the validation images"),
        ("progress", "search", "search 1/3"),
        ("candidate", "search", "search 1/3: aa"),
        ("candidate", "search", "search 2/3: bb failed"),
        ("candidate", "search", "search 3/3: cc"),
        ("end", "start", ""),
    ]
    values = {"val_accuracy": 0.5, "macs": 2e6, "latency_ms": {"cpu": 0.5}}
    assert [{key: value for key, value in one.items() if key not in COMMON} for one in found] == [
        {},
        {"values": {"val_accuracy": 0.875}},
        {},
        {"student": "aa", "state": "complete", "values": values},
        {"student": "bb", "state": "failed", "values": {}},
        {
            "student": "cc",
            "state": "over limits",
            "values": {"val_accuracy": 0.25, "macs": 1e6, "latency_ms": {"cpu": 0.25}},
        },
        {"state": "done"},
    ]
    assert [one["share"] for one in found][-1] == 1
    for one in found:
        at = datetime.fromisoformat(one["time"])
        assert at.utcoffset() == timedelta(0)
        assert begin - timedelta(milliseconds=1) <= at <= datetime.now(timezone.utc)


def test_a_second_start_goes_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        with silent(path) as meter:
            for _ in range(3):
                meter.say("data: digits")
                meter.add("search", 0, "waits")
    assert [one["event"] for one in lines(path)] == ["note", "progress", "end"] * 2


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (KeyboardInterrupt(), "interrupted", ""),
        (UserError("no space"), "failed", "no space"),
        (ValueError(3), "failed", "ValueError(3)"),
    ],
)
def test_the_last_line_says_how_it_ended(tmp_path: Path, error: BaseException, state: str, text: str) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(type(error)), silent(path):
        raise error
    (end,) = lines(path)
    assert (end["event"], end["state"], end["text"]) == ("end", state, text)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "log.jsonl"
    with pytest.raises(UserError, match=f"--json-log {path} cannot be written: No such file"), silent(path):
        raise AssertionError("nothing begins")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_full_disk_is_one_message() -> None:
    with (
        pytest.raises(UserError, match="--json-log /dev/full cannot be written: No space"),
        silent(Path("/dev/full")) as meter,
    ):
        meter.say("data")
