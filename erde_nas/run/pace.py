"""How fast a run is here: what its plan, its progress and its time left are made of."""

from dataclasses import dataclass, field

from erde_nas.measurement.profile_kinds import all_kinds, measured_together
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.run.manifest import Probe

SLIM = "slim"  # the stage that drops exits, as the progress meter, the plan and the run's timings call it
EXPORT, MEASURE = "export", "measure"  # the final measurement's files, and its least processes
ALLOWANCE = "allowance"  # its additional processes: a time that the profile gives, however fast the machine is
CHECK = "teacher check"  # the stage that compares the teacher with a student that learns without it
REFERENCE = "reference"  # the stage that finds out how fast this machine measures
SLIM_S = 0.2  # estimated, for each student that may lose exits
FILE_S = 1.0  # estimated: exporting and checking one network of the final measurement
EXITS, POINTS = 2, 2  # of a typical file, that are measured
BRIEF, BRIEF_BLOCKS = 3, 5  # processes that measure briefly before it, and their blocks
CUT = 2  # files with fewer exits, or of joined networks, for each student; of all together as many as students stay
TEACHERS = 2  # networks of the final measurement that take as long as the teacher


@dataclass(frozen=True)
class Pace:
    """How fast this run is: `epoch_s` seconds for an epoch of one student alone, `workers` candidates and `parallel`
    students of the shortlist at once. `teacher` is what the teacher's file takes, in calls of a student."""

    epoch_s: float = 0.0
    workers: int = 1
    parallel: int = 1
    profiles: tuple[HardwareProfile, ...] = ()
    probe: Probe = field(default_factory=Probe)
    teacher: float = 10.0


def measuring_s(entries: int, pace: Pace) -> dict[str, float]:
    """Estimated seconds of the final measurement of so many networks, students and baselines, by its stages; those with
    fewer exits come besides."""
    seconds = {EXPORT: entries * FILE_S, MEASURE: 0.0, ALLOWANCE: 0.0}
    for group in measured_together(pace.profiles).values():
        how, kinds = group[0].measure, len(all_kinds(group))
        students, teachers = max(0, entries - TEACHERS), TEACHERS * pace.teacher
        brief = EXITS * (how.warmup_calls + 2 * BRIEF_BLOCKS * how.calls_per_block)
        calls: float = EXITS * (how.warmup_calls + 2 * how.blocks * how.calls_per_block)
        calls += POINTS * 2 * how.stream_images / group[0].batch_size
        for processes, files, each in ((BRIEF, (1 + CUT) * students, brief), (how.processes, students, calls)):
            process_s = kinds * (files + teachers) * each * pace.probe.call_ms / 1e3
            seconds[MEASURE] += processes * (pace.probe.process_s + process_s)
        seconds[ALLOWANCE] += how.allowance_s
    return seconds
