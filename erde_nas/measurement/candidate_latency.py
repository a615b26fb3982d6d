"""Latency of a candidate under every hardware profile: exported, and timed briefly, enough to rank candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.files import Scratch
from erde_nas.measurement.int8_form import int8_form
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.profile_kinds import all_kinds, kinds_of, measured_together
from erde_nas.measurement.reference import IMAGE_SHAPE, write_reference
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.segmented import SegmentedNetwork
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import INT8, FileKind
from erde_nas.onnx_files.quantize import Quantization
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.recipe.profile import HardwareProfile

QUICK = Effort(processes=1, blocks=5)  # enough to rank candidates
SCREENING = Effort(processes=3, blocks=5)  # enough to rule out what is clearly dearer than others
ALONE = Effort(processes=5, blocks=5)  # where nothing is known of the reference
LATENCY_SLACK = 1.2  # what a brief measurement may be above a limit before nothing is tried: it is not exact
QUICK_CALIBRATION = 32  # images: latency does not depend on the ranges


def latency_per_exit(
    network: EarlyExitNetwork,
    profiles: tuple[HardwareProfile, ...],
    images: np.ndarray,
    reference_ms: Mapping[str, float] | None = None,
    rule: ExitRule = ENTROPY,
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of leaving at each exit under each profile, quickly measured on the deployable file.

    An int8 profile allows both precisions: the one whose last exit is faster counts. `reference_ms` is what
    `reference_latency` gave; without it, several processes find it out for this network alone.
    """
    if not profiles:
        return {}
    by_setting: dict[str, dict[str, Timing]] = {}
    kinds = all_kinds(profiles)
    with Scratch() as folder:
        how = int8_form(profiles) if INT8 in kinds else None
        made = _workloads(network, kinds, images, Path(folder), how, rule)
        for setting, group in measured_together(profiles).items():
            wanted = [made[kind] for kind in all_kinds(group)]
            known = None if reference_ms is None else reference_ms[group[0].name]
            effort = ALONE if known is None else replace(QUICK, reference_ms=known)
            by_setting[setting] = measure(wanted, group[0], images, effort)
    best = {}
    for setting, group in measured_together(profiles).items():
        for profile in group:
            choices = [by_setting[setting][str(kind)].per_exit for kind in kinds_of(profile)]
            best[profile.name] = min(choices, key=lambda per_exit: per_exit[-1])
    return best


def latencies_side_by_side(
    networks: Mapping[str, SegmentedNetwork], profile: HardwareProfile, images: np.ndarray, rule: ExitRule = ENTROPY
) -> dict[str, tuple[float, ...]]:
    """As `latency_per_exit`, of several networks by name under one profile: in the same processes, so that they compare
    well, and so that there are no more processes than for one."""
    kinds = kinds_of(profile)
    how = int8_form((profile,)) if INT8 in kinds else None
    with Scratch() as folder:
        workloads: list[Workload] = []
        for number, (name, network) in enumerate(networks.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            found = _workloads(network, kinds, images, place, how, rule).values()
            workloads += [replace(workload, key=f"{name}/{workload.key}") for workload in found]
        timed = measure(workloads, profile, images, ALONE) if workloads else {}
    return {
        name: min((timed[f"{name}/{kind}"].per_exit for kind in kinds), key=lambda per_exit: per_exit[-1])
        for name in networks
    }


def _workloads(
    network: SegmentedNetwork,
    kinds: Sequence[FileKind],
    images: np.ndarray,
    folder: Path,
    how: Quantization | None,
    rule: ExitRule,
) -> dict[FileKind, Workload]:
    """The network as a file of each kind, written to `folder`, which never leaves early by itself."""
    never, workloads = [0.0] * (len(network.segments) - 1), {}
    for kind, segments in make_segments(network, kinds, images[:QUICK_CALIBRATION], how).items():
        path = folder / f"{kind}.onnx"
        write_file(segments, never, path, {}, rule)
        deployable = DeployableFile(path, network)
        workloads[kind] = Workload(str(kind), deployable, len(network.segments), precision=kind.precision)
    return workloads


def reference_latency(profiles: tuple[HardwareProfile, ...]) -> dict[str, float]:
    """Milliseconds that the reference network takes for a batch under each profile: one unit for a whole search.

    Candidates are timed in units of it by one short process each, and one process may find the machine half as fast.
    """
    found: dict[str, float] = {}
    with Scratch() as folder:
        workload = Workload("reference", write_reference(Path(folder) / "reference.onnx"), 1)
        for group in measured_together(profiles).values():
            effort = Effort(group[0].measure.processes, group[0].measure.blocks)
            images = np.zeros((2 * group[0].batch_size, *IMAGE_SHAPE), np.uint8)
            timing = measure([workload], group[0], images, effort)["reference"]
            found |= {profile.name: timing.reference_ms for profile in group}
    return found
