"""What compression gains: every offered student against the fp32 teacher and against itself without exits.

    python benchmarks/compression.py digits [--run DIR] [--out FOLDER]
    python benchmarks/compression.py cifar10-small [--data-dir DIR] [--trials N] [--epochs-scale F] [--run DIR]

Searches into DIR (a temporary folder by default; a run that is there is continued, or only read where it is finished)
and writes compression-digits.csv or compression-cifar10-small.csv. One row per offered operating point and
profile: the speed-up of the measured mean latency over the fp32 teacher's in the same runtime and profile, the
difference in test accuracy in points, and the median beside that of the same student always run to the end. Rows are
sorted by speed-up; the last line printed is the fastest within one point of test accuracy, the first number to quote.
Latencies depend on the machine and on what else it does: the CSV names it and says which numbers are noisy.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

POINTS = 1.0  # of test accuracy that may be lost
Report = dict[str, Any]


def main() -> None:
    """Search where there is no finished run, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=("digits", "cifar10-small"))
    parser.add_argument("--run", type=Path, help="the run's folder")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs-scale", type=float)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or Path(folder) / "run"
        if not (run / "pareto.json").is_file():
            search(arguments, run)
        report = json.loads((run / "pareto.json").read_text())
    found = rows(report)
    path = arguments.out / f"compression-{arguments.recipe}.csv"
    write(path, found)
    print(path)
    print(verdict(found))


def search(arguments: argparse.Namespace, run: Path) -> None:
    """Search into `run`."""
    options = {"--trials": arguments.trials, "--epochs-scale": arguments.epochs_scale, "--data-dir": arguments.data_dir}
    more = [str(word) for option, value in options.items() if value is not None for word in (option, value)]
    subprocess.run(
        [sys.executable, "-m", "erde_nas.cli", "search", arguments.recipe, "--out", str(run), *more], check=True
    )


def rows(report: Report) -> list[dict[str, Any]]:
    """One row per offered point and profile, the fastest first."""
    teacher, environment = report["teacher"], report["environment"]
    found = []
    for point in report["points"]:
        for profile, latency in point["latency_ms"].items():
            if not point["offered"] or latency["mean"] is None or profile not in teacher["latency_ms"]:
                continue
            whole = latency.get("p50_without_exits")
            found.append(
                {
                    "profile": profile,
                    "runtime": latency["versions"] or latency["runtime"],
                    "cpu": environment["cpu"],
                    "student": point["student"],
                    "stage": point["stage"],
                    "quantization": point.get("quantization", ""),
                    "exits": len(point["exit_fractions"]),
                    "exit_fractions": " ".join(f"{share:.3f}" for share in point["exit_fractions"]),
                    "val_accuracy": round(point["val_accuracy"], 4),
                    "test_accuracy": round(point["test_accuracy"], 4),
                    "test_difference_points": round(100 * (point["test_accuracy"] - teacher["test_accuracy"]), 2),
                    "mean_ms": round(latency["mean"], 5),
                    "teacher_mean_ms": round(teacher["latency_ms"][profile]["mean"], 5),
                    "speed_up": round(teacher["latency_ms"][profile]["mean"] / latency["mean"], 2),
                    "p50_ms": round(latency["p50"], 5),
                    "p50_without_exits_ms": "" if whole is None else round(whole, 5),
                    "p50_ratio": "" if whole is None else round(latency["p50"] / whole, 3),
                    "size_kb": round(point["size_bytes"] / 1000, 1),
                    "macs_ratio": round(teacher["macs"] / point["macs"], 1),
                    "noisy": latency["noisy"] or teacher["latency_ms"][profile]["noisy"],
                }
            )
    return sorted(found, key=lambda row: -row["speed_up"])


def write(path: Path, found: list[dict[str, Any]]) -> None:
    """The rows as CSV."""
    if not found:
        sys.exit("no offered student was measured beside the teacher; see the run's report.md for the reasons")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def verdict(found: list[dict[str, Any]]) -> str:
    """The fastest row within one point of the teacher, and whether any median is worse than without exits."""
    worse = [row for row in found if row["p50_ratio"] not in ("", None) and row["p50_ratio"] > 1]
    close = [row for row in found if row["test_difference_points"] >= -POINTS - 1e-9]
    medians = f"{len(worse)} of {len(found)} rows have a worse median than without exits"
    if not close:
        return f"nothing within {POINTS:g} point of the teacher; {medians}"
    best = close[0]
    return (
        f"{best['student']} ({best['stage']}) on {best['profile']}: {best['speed_up']}x, "
        f"{best['test_difference_points']:+.2f} points{' (noisy)' if best['noisy'] else ''}; {medians}"
    )


if __name__ == "__main__":
    main()
