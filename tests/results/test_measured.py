"""The final measurement's bookkeeping: which network is measured as what. Measuring itself is stood in for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from erde_nas.networks.network import keep_exits
from erde_nas.networks.operating_points import OperatingPoint
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.point import Role, Stage
from erde_nas.results import measure_networks
from erde_nas.results import measured as module
from erde_nas.results.measured import measure_run
from erde_nas.results.measured_file import read_measured
from erde_nas.results.network_files import NetworkFile, TrainedNetwork
from erde_nas.run.folder import RunStore
from erde_nas.run.manifest import SCHEMA, Manifest, write_manifest
from tests.networks.builders import build, small_arch
from tests.results.test_offers import point


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """`measured(networks)` measures students by name; the teacher aside, what was measured by role or name."""

    def run(networks: dict[str, Any]) -> tuple[list[str], Any]:
        seen = []

        def stand_in(networks, run, final, left_out, wanted):
            seen.extend(entry.name if entry.role == "student" else entry.role for entry in networks)
            seen.append(sorted(wanted.students))
            return [
                point(entry.name, 0.9, 1.0, fast=1.0, role=entry.role, file=f"{entry.name}/{entry.file_stem}.onnx")
                for entry in networks
            ], []

        def entry(name: str, role: Role = "student") -> TrainedNetwork:
            origin, _, kept = name.partition("-x")
            cut: Any = {"cut_of": origin, "kept_exits": tuple(map(int, kept))} if kept else {}
            stage: Stage = "pruned" if kept else "finished"
            return TrainedNetwork(name, networks.get(name), tmp_path / name, stage, (1.0,), "model", role, **cut)

        monkeypatch.setattr(module, "measure_networks", stand_in)
        monkeypatch.setattr(module, "teachers_of", lambda run: (entry("teacher", "teacher"), []))
        monkeypatch.setattr(module, "students_of", lambda run, names, left_out: [entry(name) for name in names])
        store = RunStore(tmp_path)
        write_manifest(tmp_path, Manifest(SCHEMA, "toy", ("one",), {}, {"dataset": "abc"}, {}))
        images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
        validation = SimpleNamespace(images=images, labels=np.zeros(12, int))
        context = SimpleNamespace(dataset=SimpleNamespace(validation=validation))
        meter = SimpleNamespace(say=lambda text: None)
        measure_run(cast(Any, SimpleNamespace(store=store, context=context, meter=meter)), list(networks), True)
        return seen, read_measured(store)

    return run


def test_a_student_with_one_exit_is_its_own_baseline_and_measured_once(measured):
    seen, found = measured({"one": build(small_arch("resnet", ("gap",)))})
    assert seen == ["teacher", "one", ["one"]]  # whatever it costs
    assert [(p.student, p.role) for p in found.points] == [("one", "student")]
    assert [(p.student, p.role, p.file) for p in found.baselines] == [
        ("one", "student_without_exits", found.points[0].file)
    ]


def test_so_is_the_best_student_with_its_last_exit_alone(measured):
    best = build(small_arch("resnet", ("gap", "gap")))
    networks = {"best": best, "best-x0": keep_exits(best, [0]), "best-x1": keep_exits(best, [1])}
    seen, found = measured(networks)
    assert seen == ["teacher", *networks, ["best-x1"]]
    assert [p.student for p in found.points] == list(networks)
    assert [(p.student, p.role) for p in found.baselines] == [("best-x1", "student_without_exits")]


def test_points_that_were_measured_are_not_measured_again(tmp_path):
    def file(*thresholds: float) -> Any:
        points = tuple(OperatingPoint((t,), (0.5, 0.5), 0.9, 1.0) for t in thresholds)
        trained = TrainedNetwork("a", cast(Any, None), tmp_path, "finished", (1.0, 2.0))
        return NetworkFile(trained, FP32, tmp_path / "model.onnx", cast(Any, None), np.zeros((2, 1, 2)), points)

    path = str(tmp_path / "model.onnx")
    (left,) = measure_networks._not_in([file(0.1, 0.2)], {(path, (0.1,))}, 1)
    assert [point.thresholds for point in left.points] == [(0.2,)]
    assert left.key == "a/model.onnx again 1", "its timings stand beside those of the first points"
    assert measure_networks._not_in([file(0.1)], {(path, (0.1,))}, 1) == []


def test_where_a_measured_point_cannot_stand(tmp_path):
    """One that answers otherwise stands nowhere, one beyond a limit not there, one without numbers nowhere either; of a
    lost profile nothing is said."""
    profiles = tuple(
        HardwareProfile.model_validate({"name": name, "limits": {"latency_ms": 1.5}})
        for name in ("fast", "slow", "lost")
    )
    store = SimpleNamespace(folder=tmp_path)
    run = cast(Any, SimpleNamespace(context=SimpleNamespace(profiles=profiles), store=store))
    names = ("good", "wrong", "gone")
    chosen = (OperatingPoint((0.5,), (0.5, 0.5), 0.9, 1.0),)
    files = [
        SimpleNamespace(path=tmp_path / f"{name}.onnx", points=chosen) for name in names
    ]  # fmt: skip
    points = [
        point("good", 0.9, 1.0, fast=1.0, slow=2.0, file="good.onnx"),
        point("wrong", 0.9, 1.0, fast=1.0, slow=1.0, file="wrong.onnx", offered=False, reason="answers otherwise"),
    ]
    found = measure_networks._not_standing(cast(Any, files), points, run, ["lost"])
    assert {Path(path).stem: fronts for (path, _), fronts in found.items()} == {
        "good": {"slow"},
        "wrong": {"fast", "slow", "macs"},
        "gone": {"fast", "slow", "macs"},
    }
