"""What student.json says -> the model card of a bundle, in Markdown."""

import math
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from erde_nas.bundle.student_file import ShippedBaseline, ShippedLatency, StudentFile, TradeOff
from erde_nas.device.bundle_runner import plain, sides
from erde_nas.device.instructions import in_words
from erde_nas.report.escape import markdown_code, markdown_text
from erde_nas.report_data.uncertainty import doubts, known, significant, uncertainty

EXAMPLE = """\
import json, sys
from run import open_session, read_image

student = json.loads(open("student.json", encoding="utf-8").read())
session = open_session(open(student["default"]["model"], "rb").read())
image = read_image(sys.argv[1], student["input"]["channels"], student["input"]["size"])
logits, exit_index = session.run(None, {"image": image[None]})
print(student["classes"][logits[0].argmax()], "from exit", exit_index[0])
"""


def model_card(student: StudentFile) -> str:
    """The card of a student as `bundle.describe` describes it."""
    parts = (_what(student), _use(student), _limits(student), _data(student), _numbers(student), _origin(student))
    return "\n\n".join(parts) + "\n"


def _what(student: StudentFile) -> str:
    height, width = sides(student.input.size)
    shape, networks = student.input, student.arch.get("cascade", [student.arch])
    exits = sum(len(arch["exits"]) if arch else 1 for arch in networks)
    families = " + ".join(_family(arch) for arch in networks)
    count = f"{exits} exits" if exits > 1 else "one exit"
    thresholds = student.default.thresholds
    unit = markdown_text(student.exit_rule.unit_text)
    at = f" at the thresholds {_list(thresholds)} {unit}".rstrip() if thresholds else ""
    score = markdown_text(student.exit_rule.text)
    rule = (
        f" It answers at the first exit where the\n{score} is below that exit's threshold, and what "
        "comes after that exit does not run."
        if exits > 1
        else ""
    )
    return f"""# Student {markdown_text(student.student)}

An image classifier with {count} ({families}, {student.stage}), for {len(student.classes)}
classes and images of {width}×{height} pixels, {markdown_text(shape.colour)}.{rule}{_joined(student)}

- Classes: {_some(student.classes)}
- Default: {markdown_code(student.default.model)}{at}"""


def _family(arch: dict[str, Any] | None) -> str:
    """What a network is, in words; of a network of the user's own its file."""
    if not arch:
        return "the teacher"
    if "program" in arch:
        return markdown_text(f"{arch['program']} with exits attached")
    return "parts of your own network" if arch["family"] == "own" else markdown_text(arch["family"])


def _joined(student: StudentFile) -> str:
    """What is to be known of a cascade."""
    if "cascade" not in student.arch:
        return ""
    first = len(student.arch["cascade"][0]["exits"])
    exits = f"exit {first - 1} is" if first == 1 else f"exits 0 to {first - 1} are"
    averaged = student.arch["averaged"]
    mean = f" and answers with a mean of\nboth networks' logits ({averaged:.0%} the first's)" if averaged else ""
    return (
        f" It is a cascade of two networks: {exits} the first\nnetwork's, the second starts from the image again{mean}."
    )


def _some(classes: Sequence[str]) -> str:
    shown = ", ".join(map(markdown_text, classes[:20]))
    return shown if len(classes) <= 20 else f"{shown} and {len(classes) - 20} more (student.json)"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _use(student: StudentFile) -> str:
    budget = example_budget(student)
    line = (
        f"\n    python run.py folder --budget-ms {budget:<12} # the most accurate thresholds within a mean latency"
        if budget
        else ""
    )
    return f"""## Use

    python run.py photo.png                       # one image: class, probability, and the exit it left at
    python run.py folder --batch 64 --json        # batches: images that are sure leave, the rest goes on{line}

`run.py` needs numpy and onnxruntime; Pillow for other formats than PNG and for `--resize`. A few lines of your own:

```python
{EXAMPLE}```"""


def example_budget(student: StudentFile) -> str:
    """A budget between the cheapest and the dearest operating point, rounded up, and the profile that it is about where
    that is not the first one; nothing where `run.py` can keep no profile."""
    names = [name for name, profile in student.profiles.items() if profile.runtime == "onnxruntime"]
    for name in sorted(names, key=lambda name: student.profiles[name].device != "cpu"):
        means = [row.latency_ms[name].mean for row in student.trade_offs if name in row.latency_ms]
        if means:
            middle = (min(means) + max(means)) / 2
            digits = 1 - math.floor(math.log10(middle))
            value = math.ceil(round(middle * 10**digits, 6)) / 10**digits
            return f"{value:g}" + ("" if name == names[0] else f" --profile {plain(name)}")
    return ""


def _limits(student: StudentFile) -> str:
    return f"""## Intended use and limits

- For images like those of {markdown_text(student.data.name)}, prepared in the same way. It always names
  one of its classes, also for an image that shows none of them.
- Images that differ from the validation images change the accuracy, and the shares of the exits and so the latency.
- Probabilities are softmax values, not calibrated ones. It was not examined for bias between groups of any kind.
- Latencies hold for the machine and the conditions below; `erde-nas profile` measures the file on another one.
{_where(student)}""".rstrip()


def _where(student: StudentFile) -> str:
    """For which CPUs the accuracy of int8 files holds."""
    lines = [
        f"- The accuracy of {markdown_code(name)} holds on {markdown_text(in_words(needs))}."
        + (" On an older x86 CPU its sums are cut off and it answers otherwise; `run.py` says so." if needs else "")
        for name, model in student.models.items()
        if (needs := model.instructions) or model.precision == "int8"
    ]
    return "\n".join(lines)


def _data(student: StudentFile) -> str:
    data = student.data
    return f"""## Data

{markdown_text(data.name)}: {data.train:,} images for training, {data.validation:,} for choosing
students and thresholds, {data.test:,} for the test accuracy, which was read once.

Licence of the data: {markdown_text(data.licence)}."""


def _numbers(student: StudentFile) -> str:
    rows = [row for row in student.trade_offs if row.test_accuracy is not None]
    timed: list[tuple[str, TradeOff | ShippedBaseline]] = [(_point_name(row), row) for row in rows]
    timed += [(baseline.label, baseline) for baseline in student.baselines]
    body = [
        [markdown_text(name), _percent(row.val_accuracy), _with_interval(row), markdown_text(profiles), *numbers]
        for name, row in timed
        for profiles, numbers in _by_numbers(row.latency_ms)
    ]
    headers = ["", "validation", "test (95 % interval)", "profile", "mean ms", "p50", "p95", "p99"]
    table = tabulate(body, headers, tablefmt="github", disable_numparse=True)
    where = student.provenance.measured_on
    conditions = "\n".join(
        f"- {markdown_text(f'{name}: {p.runtime}, {p.device}')}, {p.threads} thread(s), batch {p.batch_size}"
        + (f"; on another device: {markdown_text(p.description or name)}" if p.elsewhere else "")
        for name, p in student.profiles.items()
    )
    return f"""## Measured

Milliseconds per image over the stream of validation images in their natural mix, on {markdown_text(where.cpu)},
ONNX Runtime {markdown_text(where.versions.get("onnxruntime", ""))}.{_estimated(len(student.trade_offs) - len(rows))}

{table}

{_doubt([entry for _, row in timed for entry in row.latency_ms.values()])}{conditions}{_not_offered(student)}"""


def _point_name(row: TradeOff) -> str:
    """One file may be measured at several thresholds."""
    at = ", ".join(significant(threshold) for threshold in row.thresholds)
    return f"{row.model} at {at}" if at else row.model


def _by_numbers(latency: dict[str, ShippedLatency]) -> list[tuple[str, list[str]]]:
    """Profiles that share a measurement stand in one row."""
    found: dict[tuple[str, ...], list[str]] = {}
    for profile, entry in latency.items():
        off = uncertainty(entry)
        quantiles = ("-" if ms is None else known(ms, off) for ms in (entry.p50, entry.p95, entry.p99))
        numbers = (known(entry.mean, off) + ("!" if doubts(entry) else ""), *quantiles)
        found.setdefault(numbers, []).append(profile)
    return [(", ".join(profiles), list(numbers)) for numbers, profiles in found.items()]


def _doubt(entries: list[ShippedLatency]) -> str:
    """What the marks in the table mean; empty where there are none."""
    reasons = "; ".join(dict.fromkeys(reason for entry in entries for reason in doubts(entry)))
    return f"! in doubt ({reasons}); `erde-nas profile` measures the file again.\n\n" if reasons else ""


def _estimated(count: int) -> str:
    if not count:
        return ""
    return (
        f" `student.json` has {count} more operating points, whose mean is estimated: the share of every exit\n"
        "times its measured cost."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _with_interval(row: TradeOff | ShippedBaseline) -> str:
    if row.test_accuracy is None or row.test_accuracy_ci95 is None:
        return "-"
    low, high = row.test_accuracy_ci95
    return f"{_percent(row.test_accuracy)} ({100 * low:.1f}–{100 * high:.1f})"


def _not_offered(student: StudentFile) -> str:
    lines = [
        f"- {markdown_code(name)} was not offered: {markdown_text('; '.join(model.reasons))}"
        for name, model in student.models.items()
        if not model.offered and model.reasons
    ]
    return "\n" + "\n".join(lines) if lines else ""


def _origin(student: StudentFile) -> str:
    origin = student.provenance
    return f"""## Origin

{markdown_text(f"{origin.made_with}, recipe {origin.recipe}")}, seed {origin.seed}; taught by
{markdown_text(origin.teacher)}. Data fingerprint {markdown_code(student.data.fingerprint[:16] + "…")}.
The SHA-256 of every file is in `student.json`."""
