"""The report model of a run folder that was written by hand: the contract's keys, and what is on it."""

import json
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from erde_nas.data.dataset import Dataset, Split
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import CompressSection, FinishSection, Recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.report_data.evidence import TestAnswers
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point
from erde_nas.results.build_report import build_report, searched_front
from erde_nas.results.measured_file import Measured, write_measured
from erde_nas.run.context import RunContext
from erde_nas.run.folder import open_run
from erde_nas.space.space import Space
from erde_nas.space.trial import Trial
from tests.space.builders import findings, judged

SHORT = OptimizerSection(epochs=1)
RECIPE = Recipe(
    name="toy",
    dataset=DatasetSection(name="digits"),
    space=SpaceSection(families=("resnet",), depths=((1, 2),), widths=((8, 16),), heads=("gap",)),
    train=SHORT,
    finish=FinishSection(train=SHORT),
    compress=CompressSection(train=SHORT),
)
PROFILES = (HardwareProfile(name="fast"), HardwareProfile(name="int8", precision="int8"))
# The contract of pareto.json (schema 1): what is relied on from outside.
KEYS = {"schema", "objectives", "dataset", "teacher", "baselines", "points", "hypervolume"}
POINT = {
    *("student", "stage", "arch", "thresholds", "exit_fractions", "val_accuracy", "test_accuracy"),
    *("test_accuracy_ci95", "macs", "macs_per_exit", "params", "size_bytes", "latency_ms", "file"),
}
LATENCY = {"mean", "p50", "p95", "p99", "expected_mean", "source", "runtime", "threads", "batch_size", "precision"}


def split(count: int) -> Split:
    return Split(np.zeros((count, 1, 8, 8), np.uint8), np.zeros(count, np.int64))


DATASET = Dataset("digits", split(7), split(5), split(3), ("a", "b"), (0.5,), (0.2,), "pixels")
SPACE = Space(RECIPE.space, (1, 8, 8), 2)


def trial(number: int, objectives: tuple[float, ...], **changes: Any) -> Trial:
    """A trial of the search, with the metrics that a candidate has."""
    params = {name: choices[0] for name, choices in SPACE.parameters.items()}
    fields: dict[str, Any] = {
        "number": number,
        "student": f"student{number}",
        "params": params,
        "state": "complete",
        "objectives": objectives,
        "findings": findings(
            judged((0.8,), thresholds=(0.5,), latency_ms={"fast": 0.5, "int8": 0.25}),
            SPACE.decode(params),
            {"fast": [0.2, 0.6], "int8": [0.1, 0.3]},
        ),
    }
    return Trial(**{**fields, **changes})


TRIALS = [
    trial(0, (0.1, 3.0)),
    trial(1, (0.2, 1.0)),
    trial(2, (0.3, 2.0)),  # beaten by the one before
    trial(3, (), state="failed", findings=None, reason="the loss became nan"),
    trial(4, (0.05, 0.5), constraints=(-1.0, 0.01)),  # beyond a limit
    trial(5, (0.4, 0.1), constraints=(0.0, -1.0)),
]


def measured(student: str, accuracy: float, ms: float, **changes: Any) -> Point:
    latency = Latency(ms, ms, ms, ms, ms, (ms, 2 * ms), "measured", "onnxruntime", "cpu", 1, 1, "fp32")
    return Point(
        **{
            "student": student,
            "stage": "finished",
            "arch": None,
            "thresholds": (0.5,),
            "exit_fractions": (0.5, 0.5),
            "val_accuracy": accuracy,
            "test_accuracy": accuracy,
            "test_accuracy_ci95": (0.0, 1.0),
            "macs": 100 * ms,
            "macs_per_exit": (50 * ms, 150 * ms),
            "params": 10,
            "size_bytes": 40,
            "latency_ms": {"fast": latency, "int8": latency},
            "file": f"students/{student}/model.onnx",
            **changes,
        }
    )


ANSWERS = TestAnswers((3,), (2,), examples=(((0, 0, 0), (2, 0, 1)),))


def report(folder: Path, *, finished: bool, interrupted: bool = False, recipe: Recipe = RECIPE) -> dict[str, Any]:
    """Assemble a run with TRIALS; `finished`: student0 was finished, pruned and measured."""
    with open_run(folder, recipe, PROFILES, {"dataset": DATASET.fingerprint}) as store:
        store.open_study(("error", "macs"), SPACE)
        for one in TRIALS:
            store.add(one)
        if finished:
            store.update_student("student0", stage="finished")
            store.update_student("student0-p50", stage="pruned", parent="student0")
            slower = measured("student0-p50", 0.89, 3.0, stage="pruned")
            measured_points = Measured(
                students=("student0", "student0-p50"),
                teacher=measured("teacher", 0.95, 4.0, role="teacher"),
                baselines=(measured("student0", 0.9, 3.0, role="student_without_exits"),),
                points=(measured("student0", 0.9, 2.0, answers=ANSWERS), slower),
            )
            write_measured(store, measured_points)
        context = SimpleNamespace(recipe=recipe, profiles=PROFILES, dataset=DATASET)
        run = RunContext(store, cast(Any, context), SPACE, cast(Any, None))
        with store.timed("search"):
            pass
        return to_json(build_report(run, interrupted))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a finished run, after a way through JSON."""
    return json.loads(json.dumps(report(tmp_path_factory.mktemp("finished") / "run", finished=True)))


def test_examples_are_shown_unless_the_recipe_says_no(tmp_path: Path) -> None:
    assert report(tmp_path / "shown", finished=True)["pictures"].keys() == {"0", "2"}
    discreet = RECIPE.model_copy(update={"example_images": False})
    assert report(tmp_path / "run", finished=True, recipe=discreet)["pictures"] == {}
    assert report(tmp_path / "run", finished=True)["pictures"]  # it may be said later, too


def test_a_finished_run_keeps_the_contract(found: dict[str, Any]) -> None:
    assert found.keys() >= KEYS
    assert found["schema"] == 1
    assert found["objectives"] == ["error", "latency_ms:fast", "latency_ms:int8"]
    assert found["dataset"] == {
        "name": "digits",
        "classes": ["a", "b"],
        "train": 7,
        "validation": 5,
        "test": 3,
        "image_shape": [1, 8, 8],
        "images_per_class": {"train": [7, 0], "validation": [5, 0], "test": [3, 0]},
        "remarks": [],
    }
    every = [found["teacher"], *found["baselines"], *found["points"]]
    for one in every:
        assert one.keys() >= POINT
        assert one["latency_ms"].keys() == {"fast", "int8"}
        assert all(entry.keys() >= LATENCY for entry in one["latency_ms"].values())
    assert found["teacher"]["role"] == "teacher"
    assert [one["role"] for one in found["baselines"]] == ["student_without_exits"]
    assert not found["interrupted"]
    assert found["profiles"]["int8"]["precision"] == "int8"
    assert found["environment"]["timings_s"].keys() == {"start", "search"}
    assert found["environment"]["versions"]["torch"]
    created = datetime.fromisoformat(found["created"])
    assert abs((datetime.now(timezone.utc) - created).total_seconds()) < 60


def test_a_finished_run_offers_what_is_worth_it_and_says_why_not(found: dict[str, Any]) -> None:
    # What was measured, then the rest of the search's front, estimated.
    assert [one["student"] for one in found["points"]] == ["student0", "student0-p50", "student1", "student5"]
    assert [one["offered"] for one in found["points"]] == [True, False, False, False]
    assert "not faster than unpruned: 6.00 against 4.00 ms on fast" in found["points"][1]["remarks"][0]
    assert found["points"][2]["reason"] == found["points"][3]["reason"] == "not on the shortlist"
    assert found["fronts"] == {"macs": [0], "fast": [0], "int8": [0]}
    # Half of the teacher's cost at an error of 0.1.
    assert found["hypervolume"] == pytest.approx({"macs": 0.45, "fast": 0.45, "int8": 0.45})


def test_a_searched_point_is_estimated(found: dict[str, Any]) -> None:
    point = from_json(Point, found["points"][2])
    assert point.stage == "searched"
    assert point.file is None
    assert point.test_accuracy is None
    assert point.arch == TRIALS[1].findings.arch.to_dict()
    for name, expected, per_exit, precision in (
        ("fast", 0.5, (0.2, 0.6), "fp32"),
        ("int8", 0.25, (0.1, 0.3), "fp32/int8"),
    ):
        latency = point.latency_ms[name]
        assert (latency.source, latency.mean, latency.p99) == ("estimated", None, None)
        assert (latency.expected_mean, latency.per_exit, latency.precision) == (expected, per_exit, precision)


def test_every_trial_is_listed(found: dict[str, Any]) -> None:
    rows = found["searched"]
    assert [row["student"] for row in rows] == [f"student{i}" for i in range(6)]
    assert rows[0]["macs"] == 175.0
    assert rows[3]["state"] == "failed"
    assert rows[3]["reason"] == "the loss became nan"
    assert rows[3]["val_accuracy"] is None


def test_an_interrupted_search_shows_what_it_has(tmp_path: Path) -> None:
    found = json.loads(json.dumps(report(tmp_path / "run", finished=False, interrupted=True)))
    assert found.keys() >= KEYS
    assert found["interrupted"]
    assert found["teacher"] is None
    assert found["baselines"] == []
    assert found["hypervolume"] == {}
    assert [one["student"] for one in found["points"]] == ["student0", "student1", "student5"]
    assert not any(one["offered"] for one in found["points"])
    assert {one["reason"] for one in found["points"]} == {"the run was interrupted before it was finished"}
    assert found["fronts"] == {"macs": [], "fast": [], "int8": []}
    # All three were judged alike: the first stands for them.
    assert found["estimated_fronts"] == {"macs": [0], "fast": [0], "int8": [0]}


def test_the_searched_front_by_hand() -> None:
    assert [one.number for one in searched_front(TRIALS)] == [0, 1, 5]
    assert searched_front(TRIALS[3:5]) == []
    assert searched_front([]) == []
    twins = [trial(0, (0.1, 1.0)), trial(1, (0.1, 1.0))]
    assert searched_front(twins) == twins


def test_the_searched_front_is_that_of_brute_force() -> None:
    generator = np.random.default_rng(0)
    trials = [
        trial(i, tuple(map(float, generator.integers(0, 6, 3))), constraints=(float(generator.normal()),))
        for i in range(60)
    ]
    feasible = [one for one in trials if one.constraints[0] <= 0]

    def beaten(a: Trial) -> bool:
        return any(
            all(x <= y for x, y in zip(b.objectives, a.objectives, strict=True)) and b.objectives != a.objectives
            for b in feasible
        )

    assert searched_front(trials) == [one for one in feasible if not beaten(one)]


def test_the_report_says_by_which_rule_images_leave(tmp_path: Path, found: dict[str, Any]) -> None:
    assert found["exit_rule"] == {"name": "entropy", "text": "entropy of its answer", "unit": "nats"}
    by_margin = RECIPE.model_copy(update={"exit_rule": "margin"})
    other = report(tmp_path / "margin", finished=False, recipe=by_margin)
    assert (other["exit_rule"]["name"], other["exit_rule"]["unit"]) == ("margin", "")
