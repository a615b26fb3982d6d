"""The plan at the start of a run: said once, with the teacher, and without what a former start has done."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from erde_nas.distil.task import Task
from erde_nas.distil.training.compute import Compute
from erde_nas.files import write_json
from erde_nas.networks.macs import exit_macs
from erde_nas.progress.meter import Meter
from erde_nas.progress.time_left import duration
from erde_nas.run.folder import RunStore, open_run
from erde_nas.run.pace import ALLOWANCE, CHECK, EXPORT, MEASURE, SLIM
from erde_nas.searching import probe as planning
from erde_nas.searching.plan import after_search_s, candidate_s
from erde_nas.searching.probe import LATENCY_GROWS, Planner
from tests.results.test_build_report import DATASET, PROFILES, RECIPE, SPACE

STEP_S, STEPS = 0.02, 25.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run at its start on a machine of which everything is known: 12 s for the reference, 2 s for a candidate."""
    now = {"s": 0.0}
    monkeypatch.setattr(planning.time, "monotonic", lambda: now["s"])
    monkeypatch.setattr(planning.os, "getloadavg", lambda: (0.5, 0.5, 0.5))

    def reference(profiles):
        now["s"] += 12.0
        return {profile.name: 0.05 for profile in profiles}

    def candidate(network, profiles, images, reference_ms):
        now["s"] += 2.0
        return {profile.name: (0.1, 0.3) for profile in profiles}

    monkeypatch.setattr(planning, "reference_latency", reference)
    monkeypatch.setattr(planning, "latency_per_exit", candidate)
    with open_run(tmp_path / "run", RECIPE, PROFILES, {"dataset": DATASET.fingerprint}) as opened:
        opened.open_study(("error", "macs"), SPACE)
        yield opened


def planned(store: RunStore, teacher_s: float = 0.0, **options: bool) -> tuple[Planner, float]:
    """A planner that has heard everything, and the seconds that it announced."""
    meter = Meter(Console(file=io.StringIO()))
    said: list[str] = []
    meter.say = said.append  # type: ignore[method-assign]
    cuda = torch.device("cuda")  # four students of the shortlist at once, whatever machine this is
    planner = Planner(Task(RECIPE, PROFILES, DATASET, cuda), store, meter, **options)
    planner.on_compute(Compute("fp32", 1, STEP_S), STEPS)
    meter.plan({"teacher": teacher_s})
    planner.on_planned(10.0 * exit_macs(SPACE.middle())[-1])
    (line,) = said
    assert line.endswith(f"; about {duration(meter.left_s())} from here")
    return planner, meter.left_s()


def test_what_the_machine_takes_is_measured_once(store: RunStore) -> None:
    planner, _ = planned(store)
    processes = PROFILES[0].measure.processes
    assert planner.pace.probe == planning.Probe(candidate_s=2.0, process_s=12.0 / processes, call_ms=0.3)
    assert planner.pace.epoch_s == STEP_S * STEPS
    assert planner.pace.teacher == pytest.approx(10**LATENCY_GROWS)
    assert planner.reference_ms == {"fast": 0.05, "int8": 0.05}
    again, _ = planned(store)
    assert (again.pace.probe, again.reference_ms) == (planner.pace.probe, planner.reference_ms)


def test_measuring_takes_longer_where_others_are_at_work(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(planning.os, "getloadavg", lambda: (8.0, 1.0, 1.0))
    planner, _ = planned(store)
    assert planner.pace.probe.call_ms == pytest.approx(4 * 0.3)


def test_the_announced_time_is_that_of_every_stage_and_the_teachers(store: RunStore) -> None:
    planner, announced = planned(store, teacher_s=500.0)
    search = RECIPE.search.trials * candidate_s(RECIPE, planner.pace)
    check = RECIPE.train.epochs * planner.pace.epoch_s
    after = after_search_s(RECIPE, planner.pace)
    assert announced == pytest.approx(500.0 + search + check + sum(after.values()))
    assert {SLIM, EXPORT, MEASURE, ALLOWANCE, "finish", "prune", "report"} == after.keys()
    assert CHECK not in after


def test_what_a_former_start_has_done_is_not_announced_again(store: RunStore) -> None:
    _, whole = planned(store)
    students = RECIPE.finish.students
    for number in range(students):
        write_json(store.student(f"s{number}") / "metrics.json", {"stage": "finished", "used_exits": [0]})
        write_json(
            store.student(f"s{number}-p50") / "metrics.json", {"stage": "pruned", "ratio": 0.5, "used_exits": [0]}
        )
    planner, left = planned(store)
    after = after_search_s(RECIPE, planner.pace)
    assert whole - left == pytest.approx(after["finish"] + after["prune"] + after[SLIM])
    (store.folder / "measured.json").write_text("{}")
    _, again = planned(store, measured_stays=False)
    assert again == pytest.approx(left)
    _, nothing = planned(store)
    assert left - nothing == pytest.approx(after[EXPORT] + after[MEASURE] + after[ALLOWANCE])
