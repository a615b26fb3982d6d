"""The plan of a run at its start: how fast this machine trains and measures, and what that means for every stage."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace

from erde_nas.device.machine import usable_cores
from erde_nas.distil.context import trainings_at_once
from erde_nas.distil.prepare import Listener
from erde_nas.distil.task import Task
from erde_nas.distil.teacher_check import learns_from_teacher
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import RuntimeRefused
from erde_nas.measurement.candidate_latency import latency_per_exit, reference_latency
from erde_nas.measurement.profile_kinds import measured_together
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.progress.meter import Meter
from erde_nas.progress.time_left import duration
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.run.folder import RunStore
from erde_nas.run.manifest import Probe
from erde_nas.run.pace import ALLOWANCE, CHECK, EXPORT, MEASURE, REFERENCE, SLIM, Pace
from erde_nas.searching.objectives import timed
from erde_nas.searching.plan import make_plan

LATENCY_GROWS = 0.65  # with this power of the MACs, roughly: 7 times for 50, 10 for 16


class Planner(Listener):
    """Hears what `prepare` finds out, and says the plan as soon as it can be known.

    `pace` and `reference_ms`, what the reference network takes under each profile, are there from then on.
    """

    def __init__(
        self, task: Task, store: RunStore, meter: Meter, workers: int = 1, measured_stays: bool = True
    ) -> None:
        """`workers` candidates are evaluated at once. `measured_stays`: what a former start has measured is not
        measured again."""
        self._recipe, self._dataset, self._space, self._store, self._meter = (
            task.recipe, task.dataset, task.space, store, meter
        )  # fmt: skip
        self._measured_stays = measured_stays
        self.pace = Pace(profiles=task.profiles, workers=workers, parallel=trainings_at_once(task.device))
        self.reference_ms: dict[str, float] = {}

    def on_compute(self, compute: Compute, steps: float) -> None:
        """How a student's step runs; an epoch has `steps`."""
        self._store.update_manifest(compute=compute)
        self.pace = replace(self.pace, epoch_s=compute.seconds_per_step * steps)

    def on_teacher(self, teacher: Teacher) -> None:
        """Keep which one it is, and how its steps ran."""
        self._store.update_manifest(teacher=teacher.weights)
        if teacher.compute is not None:
            self._store.update_manifest(teacher_compute=teacher.compute)

    def on_planned(self, teacher_macs: float) -> None:
        """Measure what is not known of this run yet, and say the plan."""
        typical = self._space.middle()
        with self._store.timed(REFERENCE):
            self._meter.add(REFERENCE, 0.0)
            self.reference_ms, probe = self._probe(typical)
        self.pace = replace(self.pace, probe=probe, teacher=(teacher_macs / exit_macs(typical)[-1]) ** LATENCY_GROWS)
        done, spent_s = len(self._store.trials()), self._store.seconds()
        seconds, text = make_plan(self._recipe, self.pace, done=done, spent_s=spent_s)
        seconds |= self._still_to_do(seconds)
        if self._recipe.search.check_teacher and learns_from_teacher(self._recipe.distil) and not done:
            seconds[CHECK] = self._recipe.train.epochs * self.pace.epoch_s
        self._meter.plan(seconds, fixed=[ALLOWANCE])
        self._meter.say(f"{text}; about {duration(self._meter.left_s())} from here")

    def _still_to_do(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """The stages of which a former start of the run has done a part, with what is left of them."""
        known = self._store.records().values()
        finished = sum(record.stage == "finished" for record in known)
        pruned = sum(record.ratio is not None for record in known)
        slimmed = sum(record.used_exits is not None for record in known)
        wanted = self._recipe.finish.students
        shares = {"finish": finished / wanted, SLIM: slimmed / (2 * wanted)}
        shares["prune"] = pruned / (wanted * max(1, len(self._recipe.compress.prune)))
        if self._measured_stays and (self._store.folder / "measured.json").is_file():
            shares |= dict.fromkeys((EXPORT, MEASURE, ALLOWANCE), 1.0)
        return {stage: seconds[stage] * max(0.0, 1 - share) for stage, share in shares.items()}

    def _probe(self, typical: Arch) -> tuple[dict[str, float], Probe]:
        """What the reference takes, measured once for a run, and what measuring takes."""
        manifest = self._store.manifest()
        if manifest.reference_ms is not None:
            return dict(manifest.reference_ms), manifest.probe or Probe()
        profiles = timed(self._recipe.search, self.pace.profiles)
        begin = time.monotonic()
        reference_ms, probe = reference_latency(profiles), Probe()
        if profiles:
            processes = sum(group[0].measure.processes for group in measured_together(profiles).values())
            probe = replace(probe, process_s=(time.monotonic() - begin) / processes)
            probe = self._measured(typical, profiles, reference_ms, probe)
        self._store.update_manifest(reference_ms=reference_ms, probe=probe)
        return reference_ms, probe

    def _measured(
        self, typical: Arch, profiles: tuple[HardwareProfile, ...], reference_ms: dict[str, float], probe: Probe
    ) -> Probe:
        """`probe` with what a candidate takes."""
        network = EarlyExitNetwork(typical, self._dataset.mean, self._dataset.std)
        begin = time.monotonic()
        try:
            found = latency_per_exit(network, profiles, self._dataset.validation.images, reference_ms)
        except RuntimeRefused:  # said where a candidate fails with it
            return probe
        call_ms = sum(per_exit[-1] for per_exit in found.values()) / len(found)
        return replace(probe, candidate_s=time.monotonic() - begin, call_ms=call_ms * crowding())


class PlanAlone(Planner):
    """Says the plan with what each stage should take, and ends there: raises Planned."""

    def on_planned(self, teacher_macs: float) -> None:
        super().on_planned(teacher_macs)
        for stage, seconds in self._meter.left_by_stage().items():
            self._meter.say(f"{stage}: about {duration(seconds)}")
        raise Planned


class Planned(Exception):
    """The plan is said, and nothing else was wanted."""


def crowding() -> float:
    """How many times as long work takes that shares the cores with others: a latency does not say so, being a median
    of undisturbed calls."""
    runnable = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1.0, runnable / len(usable_cores()))
