"""The latency model against devices whose every cost is known."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from erde_nas.measurement.latency_model import LatencyModel, cross_predict, judge, order

COSTS = np.array([0.02, 0.0, 0.5, 3e-6])  # milliseconds per unit
SCALES = np.array([1.0, 10.0, 1.0, 1e5])


def networks(count: int, seed: int = 0) -> list[np.ndarray]:
    """Networks of one to three segments with random features."""
    generator = np.random.default_rng(seed)
    return [generator.random((int(generator.integers(1, 4)), 4)) * SCALES for _ in range(count)]


def device(features: list[np.ndarray]) -> list[np.ndarray]:
    """What a device takes that costs exactly COSTS."""
    return [np.array([one[: i + 1].sum(0) @ COSTS for i in range(len(one))]) for one in features]


def test_known_costs_are_recovered() -> None:
    features = networks(20)
    model = LatencyModel.fit(features, device(features))
    assert model.coefficients == pytest.approx(COSTS, rel=1e-6, abs=1e-12)


def test_a_prediction_is_the_sum_over_the_segments_passed() -> None:
    model = LatencyModel(np.array([1.0, 10.0]))
    assert model.predict(np.array([[1.0, 0.5], [2.0, 0.0], [0.0, 1.0]])).tolist() == [6.0, 8.0, 18.0]


def test_no_coefficient_is_negative_where_the_best_fit_would_be() -> None:
    """The second feature goes with less time; a line through the origin would give it -1."""
    features = [np.array([[n, n - 1.0]]) for n in (2.0, 3.0, 5.0)]
    model = LatencyModel.fit(features, [[1.0], [1.0], [1.0]])
    assert (model.coefficients >= 0).all()


def test_a_few_outliers_change_little() -> None:
    features = networks(60)
    measured = device(features)
    for i in range(0, 60, 10):
        measured[i] = measured[i] * 2
    model = LatencyModel.fit(features, measured)
    plain = np.linalg.lstsq(np.concatenate([f.cumsum(0) for f in features]), np.concatenate(measured), rcond=None)[0]
    assert model.coefficients == pytest.approx(COSTS, rel=0.05, abs=2e-4)
    assert np.abs(plain / SCALES - COSTS / SCALES).max() > 3 * np.abs(model.coefficients - COSTS).max()


def test_every_network_is_predicted_without_itself() -> None:
    """With as many folds as networks: a loop that leaves out one after the other."""
    features = networks(8)
    measured = [ms * factor for ms, factor in zip(device(features), np.linspace(0.9, 1.1, 8), strict=True)]
    predicted = cross_predict(features, measured, folds=8)
    for i in range(8):
        others = [j for j in range(8) if j != i]
        model = LatencyModel.fit([features[j] for j in others], [measured[j] for j in others])
        assert predicted[i] == pytest.approx(model.predict(features[i]))


def test_the_error_of_a_device_with_noise_is_that_noise() -> None:
    features, generator = networks(200), np.random.default_rng(1)
    measured = [ms * generator.normal(1, 0.05, ms.shape) for ms in device(features)]
    predicted = cross_predict(features, measured)
    found = judge(predicted, measured)
    assert found.n == 200
    assert found.median_error == pytest.approx(0.05 * stats.norm.ppf(0.75), rel=0.2)
    assert found.p95_error == pytest.approx(0.05 * stats.norm.ppf(0.975), rel=0.2)
    again = cross_predict(features, measured)
    assert all((first == second).all() for first, second in zip(predicted, again, strict=True))


def test_the_figures_by_hand() -> None:
    """Errors 10, 20, 50 and 0 %: the median is over all exits, tau over last exits; of the first exits' errors, 0, 10
    and 50 %, the 95th percentile is nine tenths of the way from the second to the third."""
    predicted, measured = [[1.1, 2.4], [0.5], [3.0]], [[1.0, 2.0], [1.0], [3.0]]
    found = judge(predicted, measured)
    assert (found.n, found.median_error, found.p95_error) == (3, pytest.approx(0.15), pytest.approx(0.46))
    ranks = order(predicted, measured)
    assert ranks is not None
    assert ranks.tau == 1.0
    assert order([[1.0], [1.0]], [[1.0], [2.0]]) is None


@pytest.mark.parametrize("latencies", [[[1.0]], [[1.0, 0.0]]])
def test_latencies_that_do_not_fit(latencies: Any) -> None:
    with pytest.raises(ValueError, match=r"every segment needs a latency above 0, but got 2 segments and latencies of"):
        LatencyModel.fit([np.ones((2, 3))], latencies)
