"""Which candidates the latency model holds for hopeless: too slow under a profile's limit even by their first exit.

The model (measurement/latency_model.py) learns from what this run has measured, also of candidates that failed, and
from nothing else: the same stored trials give the same forecasts. It spares measurements and takes the place of none.
Of many candidates it is fitted to those with the least ids. Ids are hashes: that is a sample by chance, the same in
whatever order the trials came, and few later trials change it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from erde_nas.data.dataset import Dataset
from erde_nas.measurement.candidate_latency import LATENCY_SLACK
from erde_nas.measurement.latency_features import segment_features
from erde_nas.measurement.latency_model import LatencyModel, PerExit, Validation, cross_predict, judge, order
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.report import LatencyModelFacts
from erde_nas.space.findings import Findings
from erde_nas.space.trial import Trial

LEAST_MEASURED = 12  # candidates, before anything is predicted
MOST_ERROR = 0.2  # cross-validated, in the median: a worse model excludes nothing, however large its margin
MOST_MEASURED = 240  # candidates that the model is fitted to
IN_A_ROW = 20  # candidates excluded, before the next is measured all the same: no prediction alone ends a search


@dataclass(frozen=True)
class _Fitted:
    model: LatencyModel
    predicted: Sequence[PerExit]  # of each measured candidate, by models fitted without it
    measured: Sequence[PerExit]

    @cached_property
    def validation(self) -> Validation:
        return judge(self.predicted, self.measured)

    def least(self, features: np.ndarray) -> float:
        """Milliseconds that the first exit takes at least, by all that is known; 0 where the model is a poor one."""
        validation = self.validation
        if validation.median_error > MOST_ERROR:
            return 0.0
        return float(self.model.predict(features)[0] / (1 + validation.p95_error))


class Forecast:
    """Learns from trials, predicts architectures, for the profiles that limit latency; without one it does nothing."""

    def __init__(self, profiles: Sequence[HardwareProfile], dataset: Dataset) -> None:
        self._limits = {p.name: p.limits.latency_ms for p in profiles if p.limits.latency_ms is not None}
        self._dataset = dataset
        self._seen: set[str] = set()  # students of which anything was measured
        self._measured: dict[str, Findings] = {}  # by student, those that the model is fitted to
        self._features: dict[str, np.ndarray] = {}  # by student
        self._fitted: dict[str, _Fitted] | None = None  # by profile; None: not since the last trial
        self._row = 0
        self.skipped: dict[str, set[str]] = {name: set() for name in self._limits}  # students, by profile

    def learn(self, trial: Trial) -> None:
        """Take in what was measured of one candidate, if anything was."""
        if self._limits and trial.findings is not None:
            self._seen.add(trial.student)
            self._measured[trial.student] = trial.findings
            left_out = max(self._measured) if len(self._measured) > MOST_MEASURED else ""
            self._measured.pop(left_out, None)
            self._features.pop(left_out, None)
            if left_out != trial.student:
                self._fitted = None

    def hopeless(self, arch: Arch) -> list[str]:
        """The profiles whose limit on latency the architecture should miss even by its first exit, as `too_slow` would
        find by measuring it: by more than the error that the model makes with one network in twenty."""
        if len(self._measured) < LEAST_MEASURED or self._row >= IN_A_ROW:
            self._row = 0
            return []
        features = self._of(arch)
        found = [
            name
            for name, fitted in self._models().items()
            if fitted.least(features) > self._limits[name] * LATENCY_SLACK
        ]
        self._row = self._row + 1 if found else 0
        for name in found:
            self.skipped[name].add(arch.id)
        return found

    def summary(self, skipped: Mapping[str, Sequence[str]]) -> dict[str, LatencyModelFacts]:
        """For the report: of each profile with enough measured candidates the model's cross-validated error, Kendall's
        tau with its 95 % interval, and how many architectures of `skipped` (by profile) were in fact not measured."""
        if len(self._measured) < LEAST_MEASURED:
            return {}
        return {
            name: _facts(fitted, len(set(skipped.get(name, ())) - self._seen))
            for name, fitted in self._models().items()
        }

    def _models(self) -> dict[str, _Fitted]:
        """The models of all profiles, fitted to all trials that were learnt."""
        if self._fitted is None:
            known = [self._measured[student] for student in sorted(self._measured)]  # whatever order they came in
            features = [self._of(found.arch) for found in known]
            self._fitted = {}
            for name in self._limits:
                measured = [found.latency_per_exit_ms[name] for found in known]
                model, predicted = LatencyModel.fit(features, measured), cross_predict(features, measured)
                self._fitted[name] = _Fitted(model, predicted, measured)
        return self._fitted

    def _of(self, arch: Arch) -> np.ndarray:
        """The features of an architecture, built once if it is measured."""
        if arch.id in self._features:
            return self._features[arch.id]
        found = segment_features(EarlyExitNetwork(arch, self._dataset.mean, self._dataset.std))
        if arch.id in self._measured:
            self._features[arch.id] = found
        return found


def _facts(fitted: _Fitted, skipped: int) -> LatencyModelFacts:
    found, errors = order(fitted.predicted, fitted.measured), fitted.validation
    tau, low, high = (None, None, None) if found is None else (found.tau, found.low, found.high)
    return LatencyModelFacts(errors.n, errors.median_error, errors.p95_error, tau, low, high, skipped)
