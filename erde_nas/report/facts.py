"""What Markdown and the page say besides the front: the run, what was not offered, how it was measured."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from erde_nas.device.instructions import in_words
from erde_nas.front.point import instructions_of
from erde_nas.report.forecasts import latency_model_facts
from erde_nas.report.points import Report, profile_names, student_rows
from erde_nas.report.ranks import rank_check_fact, rank_fact
from erde_nas.report.tables import Table, setting
from erde_nas.report.units import MISSING, latency_unit, macs_unit, one_line, percent, significant

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
    return f"erde-nas: {one_line(str(report.get('recipe') or dataset_name(report)))}"


def dataset_name(report: Report) -> str:
    """The data set's name."""
    return one_line(str((report.get("dataset") or {}).get("name") or "unnamed data set"))


def run_facts(report: Report) -> list[tuple[str, str]]:
    """What was searched, on what, and when, as (term, text)."""
    trials = report.get("searched") or []
    failed = sum(trial.get("state") == "failed" for trial in trials)
    hypervolume = report.get("hypervolume") or {}
    volumes = [f"{key} {significant(v)}" for key, v in hypervolume.items() if isinstance(v, int | float)]
    facts = [
        ("Data", _dataset(report.get("dataset") or {}, dataset_name(report))),
        ("Images per class", _per_class(report.get("dataset") or {})),
        ("About the data", "; ".join(map(str, (report.get("dataset") or {}).get("remarks") or []))),
        ("Searched", _searched(len(trials), failed) if trials else ""),
        ("Objectives", ", ".join(map(str, report.get("objectives") or []))),
        ("Profiles", ", ".join(profile_names(report))),
        ("Not measured", "; ".join(f"{name}: {why}" for name, why in (report.get("unmeasured") or {}).items())),
        ("Left out", "; ".join(f"{file}: {why}" for file, why in (report.get("left_out") or {}).items())),
        ("Hypervolume", ", ".join(volumes)),
        ("Rank correlation", rank_fact(report)),
        ("Latency model", "; ".join(latency_model_facts(report))),
        ("Rank check", rank_check_fact(report)),
        ("Teacher", _unfit_teacher(report)),
        ("int8", _int8(report)),
        ("Own teacher", "; ".join(map(str, report.get("own_teacher") or []))),
        ("Written", _time(report.get("created"))),
        ("Machine", _machine(report.get("environment") or {})),
        ("Devices", _devices((report.get("environment") or {}).get("devices") or {})),
    ]
    return [(term, one_line(text)) for term, text in facts if text]


def _dataset(dataset: Mapping[str, Any], name: str) -> str:
    classes = dataset.get("classes")
    count = len(classes) if isinstance(classes, list) else classes
    shape = dataset.get("image_shape") or []
    sizes = [f"{dataset[key]} {key}" for key in ("train", "validation", "test") if dataset.get(key) is not None]
    parts = [
        name,
        f"{count} classes" if count else "",
        f"images {'x'.join(map(str, shape))}" if shape else "",
        *sizes,
    ]
    return ", ".join(part for part in parts if part)


def _per_class(dataset: Mapping[str, Any]) -> str:
    """Images of each class in each split, where the report has them: 'train + validation + test: cat 8 + 1 + 2'."""
    counts = dataset.get("images_per_class") or {}
    columns = list(zip(dataset["classes"], *counts.values(), strict=True)) if counts else []
    shown = [f"{name} {' + '.join(map(str, numbers))}" for name, *numbers in columns[:MOST_CLASSES]]
    more = f" and {len(columns) - MOST_CLASSES} more" if len(columns) > MOST_CLASSES else ""
    return f"{' + '.join(counts)}: {', '.join(shown)}{more}" if shown else ""


def _unfit_teacher(report: Report) -> str:
    """Why students learnt without the teacher; empty where they did not."""
    check = report.get("teacher_check")
    if not check or check["trusted"]:
        return ""
    return (
        f"not used: right on {percent(check['teacher'], 1)}% of the validation images, a middling student that learnt "
        f"briefly without it on {percent(check['student'], 1)}%"
    )


def _int8(report: Report) -> str:
    """For which CPUs the accuracy of the int8 files holds; empty where there is none."""
    files = [row.point for row in student_rows(report) if row.point.get("quantization")]
    needs = next((found for point in files if (found := instructions_of(point))), ())
    if not files:
        return ""
    if not needs:
        return "weights have 7 bits: the accuracy holds on any CPU"
    return f"weights have 8 bits: the accuracy holds on {in_words(needs)}; older x86 cuts off sums and answers wrong"


def _machine(environment: Mapping[str, Any]) -> str:
    cores = f"{environment['cores']} cores" if environment.get("cores") else ""
    return ", ".join(str(part) for part in (environment.get("cpu"), cores, environment.get("platform")) if part)


def _devices(devices: Mapping[str, Mapping[str, Any]]) -> str:
    """The other machines that measured, by profile."""
    return "; ".join(f"{name}: {_machine(device)}" for name, device in devices.items())


def _time(created: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return str(created or "")
    return moment.strftime("%Y-%m-%d %H:%M") + (f" {moment.tzname()}" if moment.tzinfo else "")


def _searched(trials: int, failed: int) -> str:
    return f"{trials} early-exit student{'' if trials == 1 else 's'}, {failed} failed"


def not_offered_table(report: Report) -> Table:
    """The operating points that are not offered, with the reason."""
    cells = tuple(
        (
            row.name,
            row.stage,
            " ".join(significant(threshold) for threshold in row.point.get("thresholds") or ()),
            one_line(str(row.point.get("reason") or "no reason recorded")),
        )
        for row in student_rows(report)
        if not row.offered
    )
    return Table("Not offered", ("student", "stage", "thresholds (nats)", "reason"), cells, (False,) * 4)


def trials_table(report: Report) -> Table:
    """Every trial of the search in the order of its proposal, the failed ones with the reason."""
    trials = report.get("searched") or []
    profiles = list(dict.fromkeys(name for trial in trials for name in trial.get("latency_ms") or {}))
    macs = macs_unit([trial["macs"] for trial in trials if trial.get("macs") is not None])
    latency = {
        name: latency_unit(
            [value for trial in trials if (value := (trial.get("latency_ms") or {}).get(name)) is not None]
        )
        for name in profiles
    }
    headers: tuple[str, ...] = ("trial", "student", "state", "val accuracy %", f"MACs ({macs.symbol or '1'})", "params")
    headers += tuple(f"{one_line(name)} ({latency[name].symbol}, estimated)" for name in profiles)
    cells = tuple(
        (
            str(number),
            one_line(str(trial.get("student") or MISSING)),
            one_line(str(trial.get("state") or MISSING)),
            percent(trial.get("val_accuracy"), 2),
            macs.show(trial.get("macs")),
            MISSING if trial.get("params") is None else str(trial["params"]),
            *(latency[name].show((trial.get("latency_ms") or {}).get(name)) for name in profiles),
            one_line(str(trial.get("reason") or "")),
        )
        for number, trial in enumerate(trials)
    )
    return Table(
        "Search history", (*headers, "reason"), cells, (True, False, False, *(True,) * (len(headers) - 3), False)
    )


def profiles_table(report: Report) -> Table:
    """The hardware profiles with their settings and limits."""
    declared = report.get("profiles") or {}
    cells = []
    for name in profile_names(report):
        profile = declared.get(name) or {}
        limits = {key: value for key, value in (profile.get("limits") or {}).items() if value is not None}
        limit_text = ", ".join(f"{key} <= {value:g}" for key, value in limits.items()) or "none"
        cells.append(
            (one_line(name), setting(report, name), limit_text, one_line(str(profile.get("description") or "")))
        )
    return Table("Hardware profiles", ("profile", "measured with", "limits", "description"), tuple(cells), (False,) * 4)


def environment_facts(report: Report) -> list[tuple[str, str]]:
    """Versions and how long each stage took, as (term, text)."""
    environment = report.get("environment") or {}
    versions = {"python": environment.get("python"), **(environment.get("versions") or {})}
    timings = environment.get("timings_s") or {}
    facts = [
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("Stages", ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in timings.items())),
    ]
    return [(term, one_line(text)) for term, text in facts if text]
