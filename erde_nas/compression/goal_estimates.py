"""What a goal of compression is about, measured briefly under one profile: of the teacher, of trained students, and of
architectures before anything is trained."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from erde_nas.distil.context import TrainingContext
from erde_nas.files import Scratch
from erde_nas.measurement.candidate_latency import QUICK, QUICK_CALIBRATION, latency_per_exit
from erde_nas.measurement.int8_form import int8_form
from erde_nas.measurement.latency import Workload, measure
from erde_nas.measurement.profile_kinds import kinds_of
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork, drop_early_exits
from erde_nas.networks.operating_points import OperatingPoint, best_accuracy, cheapest_within, operating_curve
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.recipe.profile import HardwareProfile


class GoalMeasures:
    """Accuracy, latency and size of students and of the teacher under one profile."""

    def __init__(self, context: TrainingContext, profile: HardwareProfile) -> None:
        self.context, self.profile = context, profile
        self.images = context.dataset.validation.images

    @cached_property
    def teacher_accuracy(self) -> float:
        """Of its last exit, on validation."""
        logits = all_logits(self.context.teacher.network, self.images)[-1]
        return float((logits.argmax(-1) == self.context.dataset.validation.labels).mean())

    @cached_property
    def teacher_ms(self) -> float:
        """The fp32 teacher without early exits."""
        teacher = self.context.teacher
        network = teacher.network if teacher.early_exit is None else drop_early_exits(teacher.early_exit)
        network = network.cpu().eval()
        segments = make_segments(network, [FP32], self.images[:QUICK_CALIBRATION])[FP32]
        with Scratch() as folder:
            path = Path(folder) / "teacher.onnx"
            write_file(segments, [], path, {})
            workload = Workload("teacher", DeployableFile(path, network), 1)
            timing = measure([workload], self.profile, self.images, QUICK)
        return timing["teacher"].per_exit[-1]

    def accuracy(self, network: EarlyExitNetwork) -> float:
        """Of a student at its most accurate thresholds, on validation."""
        labels = self.context.dataset.validation.labels
        return best_accuracy(all_logits(network, self.images), labels, self.context.exit_rule)

    def point(self, network: EarlyExitNetwork) -> OperatingPoint:
        """Where a trained student would be run: its cheapest thresholds within the recipe's tolerance."""
        curve = operating_curve(
            all_logits(network, self.images),
            self.context.dataset.validation.labels,
            self._per_exit_ms(network),
            self.context.exit_rule,
        )
        return cheapest_within(curve, self.context.recipe.search.accuracy_tolerance)

    def reached(self, network: EarlyExitNetwork, fractions: tuple[float, ...], size: bool) -> Mapping[str, float]:
        """Latency and speed-up of a student whose exits are taken like that, and its smallest file's `size` if wanted.

        The weights do not matter.
        """
        latency = float(np.dot(fractions, self._per_exit_ms(network)))
        found = {"latency_ms": latency, "speedup": self.teacher_ms / latency}
        return {**found, "size_kb": self._size_kb(network)} if size else found

    def _per_exit_ms(self, network: EarlyExitNetwork) -> tuple[float, ...]:
        found = latency_per_exit(network, (self.profile,), self.images, rule=self.context.exit_rule)
        return found[self.profile.name]

    def _size_kb(self, network: EarlyExitNetwork) -> float:
        how = int8_form((self.profile,)) if self.profile.precision == "int8" else None
        made = make_segments(network, kinds_of(self.profile), self.images[:QUICK_CALIBRATION], how)
        sizes = []
        with Scratch() as folder:
            for kind, segments in made.items():
                path = Path(folder) / f"{kind}.onnx"
                write_file(segments, [0.0] * (len(network.segments) - 1), path, {}, self.context.exit_rule)
                sizes.append(path.stat().st_size / 1000)
        return min(sizes)
