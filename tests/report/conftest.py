"""A handmade report: one teacher, two baselines, four students in three stages, two profiles, a failed trial.

It is a draft, as it stands in pareto.json, so that a test can change whatever it likes; `model` makes the report of it.
"""

import copy
from typing import Any

import pytest

from erde_nas.networks.arch import Arch, Block, Exit
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point, Stage
from erde_nas.report_data.report import Report

Draft = dict[str, Any]
BARE: Draft = {
    "schema": 1, "objectives": [], "teacher": None, "baselines": [], "points": [], "hypervolume": {},
    "dataset": {"name": "", "classes": [], "train": 0, "validation": 0, "test": 0},
}  # fmt: skip
PROFILES: dict[str, dict[str, Any]] = {
    name: {
        "runtime": "onnxruntime",
        "device": "cpu",
        "threads": 1,
        "precision": precision,
        "batch_size": 1,
        "description": f"one pinned thread, {precision}",
        "limits": {"latency_ms": 2.0, "macs": None, "params": None, "size_bytes": None},
    }
    for name, precision in (("cpu-1thread", "fp32"), ("cpu-1thread-int8", "int8"))
}
FRACTIONS, PER_EXIT = (0.55, 0.25, 0.2), (0.5, 0.8, 1.4)  # of the images; of the mean cost
ARCH = Arch(
    "resnet", 1, 28, 10, 8, tuple(Block(w, w) for w in (8, 16, 16, 32, 32)), (Exit(1, "gap"), Exit(2, "erde"),
    Exit(4, "gap")), (0, 0, 0)
)  # fmt: skip


def latency(mean: float, profile: str, measured: bool = True, iqr: float = 0.02) -> Latency:
    """A latency around `mean` milliseconds, 3 % slower than expected where it was measured."""
    profile_fields = {
        key: PROFILES[profile][key] for key in ("runtime", "device", "threads", "batch_size", "precision")
    }
    return Latency(
        mean=mean if measured else None,
        p50=0.7 * mean if measured else None,
        p95=2.1 * mean if measured else None,
        p99=2.4 * mean if measured else None,
        expected_mean=mean / 1.03,
        per_exit=tuple(mean * share for share in PER_EXIT),
        source="measured" if measured else "estimated",
        **profile_fields,
        iqr_over_median=iqr if measured else None,
        interval=(0.99 * mean, 1.01 * mean) if measured else None,
        noisy=iqr > 0.1,
    )


def point(
    student: str, stage: Stage, accuracy: float, macs: float, latencies: dict[str, Latency], **changes: Any
) -> dict:
    """POINT with a test accuracy 0.4 points below the validation accuracy; `changes` replace fields."""
    tested = stage != "searched"
    fields: dict[str, Any] = {
        "student": student,
        "stage": stage,
        "arch": ARCH.to_dict(),
        "thresholds": (0.31, 0.42),
        "exit_fractions": FRACTIONS,
        "val_accuracy": accuracy,
        "test_accuracy": accuracy - 0.004 if tested else None,
        "test_accuracy_ci95": (accuracy - 0.0085, accuracy + 0.0006) if tested else None,
        "macs": macs,
        "macs_per_exit": tuple(macs * share for share in PER_EXIT),
        "params": int(macs / 40),
        "size_bytes": int(macs / 10),
        "latency_ms": latencies,
        "file": f"students/{student}/model{'.int8' if stage == 'quantized' else ''}.onnx" if tested else None,
        "exit_accuracy": (accuracy - 0.06, accuracy - 0.02, accuracy - 0.002) if tested else None,
    }
    return to_json(Point(**{**fields, **changes}))


def model(draft: Draft) -> Report:
    """The report of a draft, with what a report must hold where the draft does not say it.

    Where a test has left points away, fronts lose the indices beyond the last one.
    """
    full = {**BARE, **draft}
    fronts = {cost: [i for i in front if i < len(full["points"])] for cost, front in full.get("fronts", {}).items()}
    return from_json(Report, {**full, "fronts": fronts})


def _students() -> list[dict]:
    """Four finished students (0.12 to 0.47 ms), each also pruned and quantized, in an order that is not by cost."""
    points = []
    for index, student in enumerate(("9f3a1c2b7e", "04bd77e1aa", "c51e0f9a33", "7780ab12cd")):
        size = (3, 1, 4, 2)[index]
        accuracy, macs, mean = 0.878 + 0.0115 * size, 0.55e6 * 1.75**size, 0.075 * 1.58**size
        points += [
            point(student, "finished", accuracy, macs, {"cpu-1thread": latency(mean, "cpu-1thread")}),
            point(student, "pruned", accuracy - 0.006, macs / 2.6, {"cpu-1thread": latency(mean / 1.6, "cpu-1thread")}),
            point(
                student,
                "quantized",
                accuracy - 0.002,
                macs,
                {"cpu-1thread-int8": latency(mean / 1.7, "cpu-1thread-int8", iqr=0.14 if index == 1 else 0.02)},
                offered=index != 3,
                reason="slower than its fp32 file under cpu-1thread: 0.21 ms against 0.19 ms" if index == 3 else "",
            ),
        ]
    return points


def _searched() -> list[dict]:
    """Sixteen searched points, one of them at chance."""
    accuracies = [0.1 if index == 5 else 0.845 + 0.0037 * index + 0.011 * (index % 3) for index in range(16)]
    return [
        point(
            f"5ea{index:07d}", "searched", accuracy, 0.6e6 * 1.17**index,
            {"cpu-1thread": latency(0.09 * 1.12**index, "cpu-1thread", measured=False)},
        )
        for index, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def _front(points: list[dict], cost: Any) -> list[int]:
    """Indices of the offered points that no other offered point beats in validation accuracy and cost, unsorted."""
    priced = [(i, p["val_accuracy"], cost(p)) for i, p in enumerate(points) if p["offered"] and cost(p) is not None]
    priced = [entry for entry in priced if points[entry[0]]["stage"] != "searched"]
    return [i for i, a, c in priced if not any(b >= a and d <= c and (b, d) != (a, c) for _, b, d in priced)]


def _mean(profile: str) -> Any:
    return lambda point: point["latency_ms"].get(profile, {}).get("mean")


def _trials(searched: list[dict]) -> list[dict[str, Any]]:
    """The search history: every searched point, and a failed trial."""
    done = [
        {
            "student": p["student"],
            "val_accuracy": p["val_accuracy"],
            "macs": p["macs"],
            "params": p["params"],
            "state": "complete",
            "reason": "",
            "latency_ms": {"cpu-1thread": p["latency_ms"]["cpu-1thread"]["expected_mean"]},
        }
        for p in searched
    ]
    failed = {"student": "dead00beef", "val_accuracy": None, "macs": None, "params": None, "state": "failed"}
    return [*done, {**failed, "reason": "exit 1 answers log(10) for every image: its head is dead", "latency_ms": {}}]


@pytest.fixture(scope="session")
def _report() -> dict[str, Any]:
    students, searched = _students(), _searched()
    fp32, int8 = PROFILES
    draft = {
        "schema": 1,
        "recipe": "fashion-quick",
        "created": "2025-06-02T14:05:33+00:00",
        "interrupted": False,
        "objectives": ["error", "latency"],
        "dataset": {
            "name": "fashion-mnist", "classes": [f"class {i}" for i in range(10)], "image_shape": [1, 28, 28],
            "train": 54000, "validation": 6000, "test": 10000,
        },
        "teacher": point("teacher", "finished", 0.932, 41e6, {fp32: latency(2.31, fp32)}, role="teacher"),
        "baselines": [
            point("teacher", "finished", 0.931, 17e6, {fp32: latency(1.12, fp32)}, role="teacher_with_exits"),
            point("1b5c0de001", "finished", 0.914, 4e6, {fp32: latency(0.36, fp32)}, role="student_without_exits"),
        ],
        "points": students + searched,
        "hypervolume": {"macs": 0.8123, fp32: 0.7745},
        "fronts": {
            "macs": _front(students, lambda point: point["macs"]),
            fp32: _front(students, _mean(fp32)),
            int8: _front(students, _mean(int8)),
        },
        "profiles": copy.deepcopy(PROFILES),
        "searched": _trials(searched),
        "environment": {
            "python": "3.11.9", "platform": "Linux-6.1-x86_64", "cpu": "Intel Xeon (Sapphire Rapids)", "cores": 2,
            "versions": {"torch": "2.13.0", "onnxruntime": "1.31.1", "optuna": "5.0.0"},
            "timings_s": {"teacher": 312.4, "search": 1480.2, "finish": 611.0, "compress": 240.9, "measure": 96.3},
        },
    }  # fmt: skip
    return to_json(model(draft))


@pytest.fixture
def report(_report: dict[str, Any]) -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(_report)
