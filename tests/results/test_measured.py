"""The final measurement's bookkeeping: which network is measured as what. Measuring itself is stood in for."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from erde_nas.networks.network import keep_exits
from erde_nas.report_data.point import Role, Stage
from erde_nas.results import measured as module
from erde_nas.results.measured import measure_run
from erde_nas.results.measured_file import read_measured
from erde_nas.results.network_files import TrainedNetwork
from erde_nas.run.folder import RunStore
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
        monkeypatch.setattr(module, "_teachers", lambda run: (entry("teacher", "teacher"), []))
        monkeypatch.setattr(module, "_students", lambda run, names, left_out: [entry(name) for name in names])
        store = RunStore(tmp_path)
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
