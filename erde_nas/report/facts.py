"""What Markdown and the page say besides the front: the run, what was not offered, how it was measured."""

from collections import Counter
from datetime import datetime

from erde_nas.device.instructions import in_words
from erde_nas.report.forecasts import latency_model_facts
from erde_nas.report.points import profile_names, student_rows
from erde_nas.report.ranks import rank_check_fact, rank_fact
from erde_nas.report.tables import Table, setting
from erde_nas.report.units import MISSING, latency_unit, macs_unit, one_line, percent, significant
from erde_nas.report_data.report import DatasetFacts, DeviceFacts, Environment, ExitRuleFacts, Report
from erde_nas.report_data.screened import ScreenedPoint

MOST_CLASSES = 24  # whose counts are listed
PROTOCOL = (
    "Every measured latency is that of the deployable file in the runtime named, never that of a training framework.",
    "Threads are pinned to their cores. After warm-up calls, blocks of calls alternate with blocks of a reference "
    "model, and the numbers are medians over several processes, six or more: more are added until the 95% interval of "
    "the median is narrow. Memory is that of a process at its peak beyond what it held before it loaded the file.",
    "Calls during which something else had the processor are made again. A number is marked with ! where its interval "
    "is wide, where that befell most of its calls, or where its mean is beyond its p95.",
    "Every file's logits in the runtime are compared with those expected before its numbers count.",
    "Mean, p50, p95 and p99 are per image, over a stream of validation images in their natural mix of easy and hard.",
    "The expected mean is the share of images that leave at each exit times the cost of leaving there; tables show how "
    "far the measured mean is from it.",
    "One multiply-add is one MAC; normalisation, activations and pooling count 0.",
    "Architectures, thresholds and the front were chosen on validation images. The test images were read once, for "
    "this report; intervals are 95% confidence intervals.",
)


def title(report: Report) -> str:
    """The heading of the report."""
    return f"erde-nas: {one_line(report.recipe or dataset_name(report))}"


def dataset_name(report: Report) -> str:
    """The data set's name."""
    return one_line(report.dataset.name or "unnamed data set")


def run_facts(report: Report) -> list[tuple[str, str]]:
    """What was searched, on what, and when, as (term, text)."""
    failed = sum(trial.state == "failed" for trial in report.searched)
    volumes = [f"{key} {significant(volume)}" for key, volume in report.hypervolume.items()]
    facts = [
        ("Data", _dataset(report.dataset, dataset_name(report))),
        ("Images per class", _per_class(report.dataset)),
        ("About the data", "; ".join(report.dataset.remarks)),
        ("Searched", _searched(len(report.searched), failed) if report.searched else ""),
        ("Objectives", ", ".join(report.objectives)),
        ("Profiles", ", ".join(profile_names(report))),
        ("Exit rule", _exit_rule(report.exit_rule)),
        ("Not measured", "; ".join(f"{name}: {why}" for name, why in report.unmeasured.items())),
        ("Left out", "; ".join(f"{file}: {why}" for file, why in report.left_out.items())),
        ("Hypervolume", ", ".join(volumes)),
        ("Rank correlation", rank_fact(report)),
        ("Latency model", "; ".join(latency_model_facts(report))),
        ("Rank check", rank_check_fact(report)),
        ("Teacher", _unfit_teacher(report)),
        ("int8", _int8(report)),
        ("Own teacher", "; ".join(report.own_teacher)),
        ("Written", _time(report.created)),
        ("Machine", _machine(report.environment)),
        ("Devices", _devices(report.environment.devices)),
    ]
    return [(term, one_line(text)) for term, text in facts if text]


def _dataset(dataset: DatasetFacts, name: str) -> str:
    parts = [
        name,
        f"{len(dataset.classes)} classes" if dataset.classes else "",
        f"images {'x'.join(map(str, dataset.image_shape))}" if dataset.image_shape else "",
        f"{dataset.train} train",
        f"{dataset.validation} validation",
        f"{dataset.test} test",
    ]
    return ", ".join(part for part in parts if part)


def _per_class(dataset: DatasetFacts) -> str:
    """Images of each class in each split, where the report has them: 'train + validation + test: cat 8 + 1 + 2'."""
    counts = dataset.images_per_class
    columns = list(zip(dataset.classes, *counts.values(), strict=True)) if counts else []
    shown = [f"{name} {' + '.join(map(str, numbers))}" for name, *numbers in columns[:MOST_CLASSES]]
    more = f" and {len(columns) - MOST_CLASSES} more" if len(columns) > MOST_CLASSES else ""
    return f"{' + '.join(counts)}: {', '.join(shown)}{more}" if shown else ""


def _unfit_teacher(report: Report) -> str:
    """Why students learnt without the teacher; empty where they did not."""
    check = report.teacher_check
    if check is None or check.trusted:
        return ""
    return (
        f"not used: right on {percent(check.teacher, 1)}% of the validation images, a middling student that learnt "
        f"briefly without it on {percent(check.student, 1)}%"
    )


def _int8(report: Report) -> str:
    """For which CPUs the accuracy of the int8 files holds; empty where there is none."""
    files = [row.point for row in student_rows(report) if row.point.quantization]
    needs = next((found for point in files if (found := point.instructions)), ())
    if not files:
        return ""
    if not needs:
        return "weights have 7 bits: the accuracy holds on any CPU"
    return f"weights have 8 bits: the accuracy holds on {in_words(needs)}; older x86 cuts off sums and answers wrong"


def _machine(machine: Environment | DeviceFacts) -> str:
    cores = f"{machine.cores} cores" if machine.cores else ""
    return ", ".join(part for part in (machine.cpu, cores, machine.platform) if part)


def _devices(devices: dict[str, DeviceFacts]) -> str:
    """The other machines that measured, by profile."""
    return "; ".join(f"{name}: {_machine(device)}" for name, device in devices.items())


def _time(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return moment.strftime("%Y-%m-%d %H:%M") + (f" {moment.tzname()}" if moment.tzinfo else "")


def _searched(trials: int, failed: int) -> str:
    return f"{trials} early-exit student{'' if trials == 1 else 's'}, {failed} failed"


def _exit_rule(rule: ExitRuleFacts) -> str:
    """Nothing for the usual one."""
    return "" if rule == ExitRuleFacts() else f"{rule.name}: the {rule.text}{rule.unit_text} is held against thresholds"


def not_offered_table(report: Report) -> Table:
    """The operating points that are not offered, with the reason."""
    cells = tuple(
        (
            row.name,
            row.stage,
            " ".join(significant(threshold) for threshold in row.point.thresholds),
            one_line(row.point.reason or "no reason recorded"),
        )
        for row in student_rows(report)
        if not row.offered
    )
    thresholds = f"thresholds{report.exit_rule.unit_text}"
    return Table("Not offered", ("student", "stage", thresholds, "reason"), cells, (False,) * 4)


def screened_table(report: Report) -> Table:
    """What a brief measurement ruled out, one line per student; of its points the most accurate one's reason."""
    by_student: dict[str, list[ScreenedPoint]] = {}
    for point in report.screened:
        by_student.setdefault(point.student, []).append(point)
    cells = []
    for student, points in by_student.items():
        best = max(points, key=lambda point: point.val_accuracy)
        kinds = [f"{count} {kind}" for kind, count in Counter(point.precision for point in points).items()]
        name, ms = next(iter(best.estimated_ms.items()), ("", None))
        about = MISSING if ms is None else f"~{latency_unit([ms]).show_with_symbol(ms)} ({one_line(name)})"
        val = percent(best.val_accuracy, 2)
        cells.append((one_line(student), best.stage, ", ".join(kinds), val, about, one_line(best.reason)))
    headers = ("student", "stage", "points", "best val accuracy %", "estimated latency", "why")
    right = (False, False, False, True, True, False)
    note = "By a brief measurement others are certainly better. screen: false in a profile measures everything."
    return Table("Not measured in full", headers, tuple(cells), right, (note,) if cells else ())


def trials_table(report: Report) -> Table:
    """Every trial of the search in the order of its proposal, the failed ones with the reason."""
    trials = report.searched
    profiles = list(dict.fromkeys(name for trial in trials for name in trial.latency_ms or {}))
    macs = macs_unit([trial.macs for trial in trials if trial.macs is not None])
    latency = {
        name: latency_unit([ms for trial in trials if (ms := (trial.latency_ms or {}).get(name)) is not None])
        for name in profiles
    }
    headers: tuple[str, ...] = ("trial", "student", "state", "val accuracy %", f"MACs ({macs.symbol or '1'})", "params")
    headers += tuple(f"{one_line(name)} ({latency[name].symbol}, estimated)" for name in profiles)
    cells = tuple(
        (
            str(number),
            one_line(trial.student or MISSING),
            one_line(trial.state or MISSING),
            percent(trial.val_accuracy, 2),
            macs.show(trial.macs),
            MISSING if trial.params is None else str(trial.params),
            *(latency[name].show((trial.latency_ms or {}).get(name)) for name in profiles),
            one_line(trial.reason),
        )
        for number, trial in enumerate(trials)
    )
    return Table(
        "Search history", (*headers, "reason"), cells, (True, False, False, *(True,) * (len(headers) - 3), False)
    )


def profiles_table(report: Report) -> Table:
    """The hardware profiles with their settings and limits."""
    cells = []
    for name in profile_names(report):
        profile = report.profiles.get(name)
        limits = {} if profile is None else {key: top for key, top in profile.limits.items() if top is not None}
        limit_text = ", ".join(f"{key} <= {value:g}" for key, value in limits.items()) or "none"
        description = "" if profile is None else one_line(profile.description)
        cells.append((one_line(name), setting(report, name), limit_text, description))
    return Table("Hardware profiles", ("profile", "measured with", "limits", "description"), tuple(cells), (False,) * 4)


def environment_facts(report: Report) -> list[tuple[str, str]]:
    """Versions and how long each stage took, as (term, text)."""
    environment = report.environment
    versions = {"python": environment.python, **environment.versions}
    facts = [
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("Stages", ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in environment.timings_s.items())),
    ]
    return [(term, one_line(text)) for term, text in facts if text]
