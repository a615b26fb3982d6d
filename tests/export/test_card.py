"""The model card: what it tells a reader to type must work."""

import numpy as np
import pytest

from erde_nas.export.card import example_budget


def student(means, *, profiles=(("here", "onnxruntime", "cpu"),)):
    """As much of student.json as the example needs; `means` by profile."""
    return {
        "profiles": {name: {"runtime": runtime, "device": device} for name, runtime, device in profiles},
        "trade_offs": [
            {"latency_ms": {name: {"mean": values[i]} for name, values in means.items()}}
            for i in range(len(next(iter(means.values()))))
        ],
    }


@pytest.mark.parametrize("seed", range(20))
def test_the_example_is_within_the_range_of_the_points(seed):
    rng = np.random.default_rng(seed)
    means = list(10 ** rng.uniform(-3, 3) * rng.uniform(1, 1 + 10.0 ** -rng.integers(0, 5), rng.integers(1, 5)))
    budget = float(example_budget(student({"here": means})))
    assert min(means) <= budget <= max(1.1 * max(means), budget * 0)
    assert len(f"{budget:.10e}".split("e")[0].rstrip("0").replace(".", "")) <= 2, "two digits"


def test_the_profile_is_named_where_run_py_would_take_another():
    profiles = (("gpu", "onnxruntime", "cuda"), ("far", "openvino", "cpu"), ("here", "onnxruntime", "cpu"))
    found = student({"gpu": [0.1], "far": [5.0], "here": [2.0]}, profiles=profiles)
    assert example_budget(found) == "2 --profile here"
    assert example_budget(student({"far": [5.0]}, profiles=profiles[1:2])) == ""
