"""Runs that are killed (SIGKILL) at random moments and started again, against one that nobody disturbs: with
--deterministic all weights must come out the same, bit for bit, and nothing may be lost or end with an error.

    python benchmarks/kill_points.py --kills 100 --csv benchmarks/results/kill-points.csv

The commands are search, compress of a student that was not shortlisted, and export, in the recipe of the tests, whose
objectives are error and MACs: latency, which no two runs measure alike, then decides nothing that is trained. Half of
the kills fall right before or after a file is moved to its place, the others whenever they like.
"""

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.conftest import PROFILE, RECIPE  # noqa: E402 (a benchmark may stand outside the package)

MOST_WRITES, MOST_SECONDS = 12, 20.0  # between two kills, at most
KILLS_A_RUN = 25  # then the run may end


def recipe_text() -> str:
    """The recipe of the tests, which measures no candidate."""
    return RECIPE.replace("population: 2}", "population: 2, objectives: [error, macs]}")


def kill_at_write(count: int, after: bool) -> None:
    """From here on this process dies right before, or after, its so-manieth file is moved to its place."""
    move, left = os.replace, count

    def deadly(*args: object, **kwargs: object) -> None:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        move(*args, **kwargs)  # type: ignore[arg-type]
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly


def run(words: list[str], log: Path, writes: int = 0, after: bool = False, seconds: float = 0.0) -> int:
    """The exit status of a command in a process of its own (negative: the signal that ended it)."""
    child = os.fork()
    if child == 0:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if writes:
            kill_at_write(writes, after)
        sys.argv = ["erde-nas", *words]
        from erde_nas.cli.app import main

        try:
            main()
        except SystemExit as stop:
            os._exit(stop.code if isinstance(stop.code, int) else 0)
        os._exit(1)
    deadline = time.monotonic() + (seconds or 3600.0)
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def commands(out: Path, recipe: Path, profile: Path) -> Iterator[tuple[str, list[str]]]:
    """Search, compress and export; the latter two name students that the former has made."""
    search = ["search", str(recipe), "--profile", str(profile), "--out", str(out), "--deterministic", "--device", "cpu"]
    yield "search", search
    records = {path.parent.name: json.loads(path.read_text()) for path in out.glob("students/*/metrics.json")}
    other = min(name for name, record in records.items() if record["stage"] == "searched")
    yield "compress", ["compress", str(out), "--student", other, "--device", "cpu"]
    points = json.loads((out / "pareto.json").read_text())["points"]
    student = min(point["student"] for point in points if point["file"] and "+" not in point["student"])
    shipped = out.with_name(f"{out.name}-shipped")
    yield "export", ["export", str(out), "--student", student, "--to", str(shipped), "--format", "onnx"]


def weights(out: Path) -> dict[str, str]:
    """The digest of every file of weights of a run, by its place."""
    from erde_nas.networks.weights import recorded_digest

    files = [*out.glob("students/*/*.safetensors"), out / "teacher" / "weights.safetensors"]
    return {str(path.relative_to(out)): recorded_digest(path) for path in files if "+" not in str(path)}


def stage(log: Path) -> str:
    """What a killed command said last."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if "%] " in line]
    said = lines[-1].partition("] ")[2].split(";")[0] if lines else "start"
    return said.replace(f"{log.parent}/", "")[:60]


def killed_run(out: Path, files: tuple[Path, Path], rng: random.Random, left: int) -> Iterator[dict[str, object]]:
    """One run through all commands, killed at most `left` times: a row per kill, and one per end of a command."""
    kills = 0
    for name, words in commands(out, *files):
        while True:
            log = out.with_suffix(f".{name}.{kills}.log")
            if kills >= left:
                how, status = "", run(words, log)
            elif rng.random() < 0.5:
                count, after = rng.randint(1, MOST_WRITES), rng.random() < 0.5
                how, status = f"{'after' if after else 'before'} write {count}", run(words, log, count, after)
            else:
                seconds = rng.uniform(0.05, MOST_SECONDS)
                how, status = f"after {seconds:.1f} s", run(words, log, seconds=seconds)
            if status == -signal.SIGKILL:
                kills += 1
                yield {"run": out.name, "command": name, "kill": how, "at": stage(log), "result": "killed"}
                continue
            yield {"run": out.name, "command": name, "kill": "", "at": "end", "result": f"exit code {status}"}
            if status:
                raise SystemExit(f"{out}: {name} ended with {status}:\n{log.read_text()[-2000:]}")
            break


def main() -> None:
    """Kill until so many kills were survived; exit code 1 where anything came out differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=1e9, help="after which no further run is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kill-points-"))
    files = folder / "tiny.yaml", folder / "quick.yaml"
    files[0].write_text(recipe_text())
    files[1].write_text(PROFILE)
    os.environ["ERDE_NAS_CACHE"] = str(folder / "cache")
    from erde_nas import pipeline  # noqa: F401 (once for all processes)

    rows: list[dict[str, object]] = []
    begin, rng = time.monotonic(), random.Random(asked.seed)
    for name, words in commands(folder / "undisturbed", *files):
        if status := run(words, folder / f"undisturbed.{name}.log"):
            raise SystemExit(f"the undisturbed {name} ended with {status}: {folder}")
    wanted, kills, same = weights(folder / "undisturbed"), 0, 0
    while kills < asked.kills and time.monotonic() - begin < 60 * asked.minutes:
        out = folder / f"killed{len({row['run'] for row in rows})}"
        os.environ["ERDE_NAS_CACHE"] = str(out.with_suffix(".cache"))  # so that teachers and logits are killed as well
        found = list(killed_run(out, files, rng, min(KILLS_A_RUN, asked.kills - kills)))
        kills += sum(row["result"] == "killed" for row in found)
        got = weights(out)
        differ = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
        same += not differ
        found.append({"run": out.name, "command": "all", "kill": "", "at": "end", "result": f"{len(differ)} differ"})
        rows += found
        print(f"{out.name}: {kills} kills so far, {len(got)} files of weights, {len(differ)} differ {differ[:3]}")
    if asked.csv:
        with asked.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["run", "command", "kill", "at", "result"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    runs = len({row["run"] for row in rows})
    print(f"{kills} kills, {same} of {runs} runs with the same weights, in {time.monotonic() - begin:.0f} s")
    sys.exit(same != runs)


if __name__ == "__main__":
    main()
