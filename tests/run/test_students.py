"""metrics.json of a student: written and read whole, of an earlier version too, and refused in one line if damaged."""

import json
from pathlib import Path

import pytest

from erde_nas.errors import UserError
from erde_nas.run.students import RungResult, StudentRecord, read_student, write_student
from tests.run.damage import damaged
from tests.space.builders import ARCH, findings, judged

FINISHED = StudentRecord(
    "finished",
    searched=findings(judged()),
    rungs=(RungResult(6, 0.9, (0.1, 1 / 3)), RungResult(6, 0.95, (0.05, 1 / 3))),
    used_exits=(0,),
)
PRUNED = StudentRecord("pruned", parent="a-p50", origin="a", ratio=0.5, used_exits=(0, 2), cheapest=True)
# As the version before wrote it: what the brief training gave stands beside the stage.
OLD = {
    "stage": "finished",
    "arch": ARCH.to_dict(),
    "latency_per_exit_ms": {"fast": [0.2, 0.6]},
    "val_accuracy": 0.8,
    "thresholds": [1 / 7],
    "exit_fractions": [0.25, 0.75],
    "val_exit_accuracy": [1 / 3, 0.8],
    "macs": 175.0,
    "macs_per_exit": [100, 200],
    "params": 10,
    "size_bytes": 40,
    "latency_ms": {"fast": 0.1 + 0.2},
    "curve": [[0.8, 0.0], [2 / 3, 1 / 11]],
    "seconds": 1.339,
    "rungs": [{"epochs": 6, "val_accuracy": 0.9, "objectives": [0.1, 1 / 3]}],
    "used_exits": [0],
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for record in (FINISHED, PRUNED, StudentRecord("failed", "exit 0 is dead")):
        write_student(tmp_path, record)
        assert read_student(tmp_path) == record
    assert read_student(tmp_path / "none") is None


def test_a_finished_student_is_not_said_to_be_what_it_was_before(tmp_path: Path) -> None:
    write_student(tmp_path, FINISHED)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written.keys() == {"stage", "searched", "rungs", "used_exits"}
    assert written["searched"]["val_accuracy"] == 0.8
    assert written["rungs"][-1]["val_accuracy"] == 0.95


def test_an_earlier_versions_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(OLD))
    expected = StudentRecord("finished", searched=findings(judged()), rungs=FINISHED.rungs[:1], used_exits=(0,))
    assert read_student(tmp_path) == expected
    (tmp_path / "metrics.json").write_text('{"stage": "pruned", "parent": "a", "ratio": 0.5}')
    assert read_student(tmp_path) == StudentRecord("pruned", parent="a", origin="a", ratio=0.5)


@pytest.mark.parametrize("content", [OLD, "now", "pruned"])
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, content: object) -> None:
    path = tmp_path / "metrics.json"
    if isinstance(content, str):
        write_student(tmp_path, FINISHED if content == "now" else PRUNED)
        content = json.loads(path.read_text())
    refused = []
    for text in damaged(content):
        path.write_text(text)
        try:
            assert isinstance(read_student(tmp_path), StudentRecord)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 60
    for line in refused:
        assert line.startswith(f"{path} is damaged")
        assert line.endswith("; restore it, or use another folder")
        assert "\n" not in line


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({**OLD, "macs_per_exit": [100, "many"]}))
    with pytest.raises(UserError, match=r"metrics\.json is damaged: .*macs_per_exit\.1: Input should be a valid int"):
        read_student(tmp_path)
