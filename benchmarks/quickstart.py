"""How long the quickstart takes, how much memory, and what its front holds. Every run starts with an empty cache.

    python benchmarks/quickstart.py [--runs 3] [--out benchmarks/results/quickstart.csv]

One row per run: wall seconds, peak memory of the process and of its measuring children, the teacher, and the student
that gains the most at no more than one point less test accuracy, and how many offered students use their exits. Times
depend on the machine and on what else it does: the CSV names it, and the median over runs is what to quote.
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the quickstart several times and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "quickstart.csv")
    arguments = parser.parse_args()
    rows = [one_run(number) for number in range(arguments.runs)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"median {statistics.median(row['seconds'] for row in rows):.0f} s over {len(rows)} runs: {arguments.out}")


def one_run(number: int) -> dict[str, Any]:
    """A run in temporary folders."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "erde_nas.cli", "search", "quickstart", "--out", str(out)]
        begin = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "ERDE_NAS_CACHE": f"{folder}/cache"})
        seconds = time.perf_counter() - begin
        report = json.loads((out / "pareto.json").read_text())
        manifest = json.loads((out / "manifest.json").read_text())
    environment = report["environment"]
    return {
        "run": number,
        "cpu": environment["cpu"],
        "cores": environment["cores"],
        "torch": environment["versions"]["torch"],
        "onnxruntime": environment["versions"]["onnxruntime"],
        "seconds": round(seconds, 1),
        "load_average_after": round(os.getloadavg()[0], 2),
        "peak_memory_mb": max(
            manifest["peak_memory_mb"], round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
        ),
        **best(report),
        "students_with_exits_in_use": len(in_use(report)),
        "exit_fractions": "; ".join(f"{name} {shares}" for name, shares in in_use(report).items()),
    }


def in_use(report: dict[str, Any]) -> dict[str, str]:
    """Offered students and cascades of which two or more exits each answer at least a tenth of the images, with the
    shares in per cent at their most accurate point."""
    found = {}
    for point in sorted(report["points"], key=lambda point: point["val_accuracy"]):
        if point["offered"] and sum(share >= 0.1 for share in point["exit_fractions"]) > 1:
            found[point["student"]] = " ".join(f"{share:.0%}" for share in point["exit_fractions"])
    return found


def best(report: dict[str, Any]) -> dict[str, Any]:
    """The offered point with the largest measured speed-up at no more than a point less test accuracy, if any."""
    teacher = report["teacher"]
    gains = []
    for point in report["points"]:
        if not point["offered"] or point["test_accuracy"] < teacher["test_accuracy"] - 0.01:
            continue
        for profile, latency in point["latency_ms"].items():
            gains.append((teacher["latency_ms"][profile]["mean"] / latency["mean"], profile, point))
    row = {"teacher_test_accuracy": teacher["test_accuracy"], "teacher_macs": teacher["macs"]}
    if not gains:
        return row | dict.fromkeys(("student", "stage", "test_accuracy", "macs_ratio", "speed_up", "profile"))
    speed_up, profile, point = max(gains, key=lambda gain: gain[0])
    return row | {
        "student": point["student"],
        "stage": point["stage"],
        "test_accuracy": point["test_accuracy"],
        "macs_ratio": round(teacher["macs"] / point["macs"], 1),
        "speed_up": round(speed_up, 2),
        "profile": profile,
    }


if __name__ == "__main__":
    main()
