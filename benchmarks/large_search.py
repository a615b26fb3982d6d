"""What grows with the number of candidates: memory, the search's own time, and the run folder, up to 5,000 of them.

    python benchmarks/large_search.py [search] [ask] [--searcher NAME]... [--candidates 5000] [--profile-calls]

Nothing is trained: a stand-in answers at once with made-up errors, the real MACs, a curve of 60 operating points, and
the weights of a small student. Every row is a process of its own.

`search` is the whole loop in a real run folder, with the recipe `cifar10`'s space, error, MACs and one latency as
objectives, that latency limited, so that all that turns candidates away is at work. `ask` is the searcher alone: ask,
decode, tell. For both (large-search.csv):

`first_ms`, `last_ms`: milliseconds of CPU for a candidate, mean of the first and of the last fifth of them, without the
stand-in; `growth_mb`: what the process's resident memory grew by between a tenth of the candidates and the end.
`first_kb`, `last_kb`: kB of the run folder for each candidate of the first and of the last fifth; `first_report_ms`,
`report_ms`: CPU of a report of a fifth of the candidates and of all, for each of them; `report_mb`: peak memory of the
process that made the latter, without that of one that reported a fifth; `resume_s`: CPU of opening the folder again.
With `--profile-calls` the functions that took most of it are printed, and nothing is written.
"""

import argparse
import cProfile
import csv
import json
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import psutil

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.load import describe
from erde_nas.device.machine import describe_machine
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import blank
from erde_nas.networks.weights import pack
from erde_nas.progress.meter import Meter
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.registry import SEARCHERS
from erde_nas.report.build import write_report
from erde_nas.results.so_far import report_so_far
from erde_nas.run.context import RunContext
from erde_nas.run.folder import open_run
from erde_nas.searching.loop import explore
from erde_nas.searching.searchers import make_searcher
from erde_nas.searching.workers.interface import Evaluated
from erde_nas.space.findings import Findings, Judged
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial

RESULTS = Path(__file__).parent / "results" / "large-search.csv"
CURVE = 60  # operating points
LIMIT_MS = 1.0
FIELDS = (
    *("part", "searcher", "candidates", "first_ms", "last_ms", "rss_mb", "growth_mb", "first_kb", "last_kb"),
    *("first_report_ms", "report_ms", "report_mb", "resume_s"),
)
Row = dict[str, Any]
Setting = tuple[Recipe, tuple[HardwareProfile, ...], Dataset, Space]


class StandIn:
    """Answers at once; see `interface.Pool`. It notes the process's time and memory as candidates come by."""

    size = 1

    def __init__(self, space: Space, profile: str, folder: Path | None, candidates: int) -> None:
        self._space, self._profile, self._folder, self._candidates = space, profile, folder, candidates
        self._waiting: list[Proposal] = []
        self._weights = pack(blank(space.smallest()[0]))
        self._own_s = 0.0
        self.done, self.rss, self.reports = 0, dict[int, float](), dict[int, Row]()
        self.cpu, self.bytes = {0: time.process_time()}, {0: 0}

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *raised: object) -> None:
        """See `Pool`."""

    @property
    def busy(self) -> int:
        """See `Pool.busy`."""
        return len(self._waiting)

    def submit(self, proposal: Proposal, student: str) -> None:
        """See `Pool.submit`."""
        self._waiting.append(proposal)

    def next(self, timeout_s: float) -> Evaluated | None:
        """See `Pool.next`."""
        if not self._waiting:
            return None
        begin, proposal = time.process_time(), self._waiting.pop()
        trial = self.trial(proposal)
        self.done += 1
        self.look()
        self._own_s += time.process_time() - begin
        return Evaluated(trial, self._weights if trial.state == "complete" else None)

    def look(self) -> None:
        """Note what is to be noted at this number of candidates."""
        fifth = self._candidates // 5
        if self.done % (self._candidates // 10) == 0:
            self.rss[self.done] = psutil.Process().memory_info().rss / 2**20
        if self.done % fifth == 0:
            self.cpu[self.done] = time.process_time() - self._own_s
            if self._folder is not None:
                self.bytes[self.done] = sum(f.stat().st_size for f in self._folder.rglob("*") if f.is_file())
                if self.done in (fifth, self._candidates):
                    self.reports[self.done] = child("report", "--folder", str(self._folder))

    def trial(self, proposal: Proposal) -> Trial:
        """What the candidate is said to be: the more MACs the better, and by chance, which its id decides."""
        arch = self._space.decode(proposal.params)
        chance = np.random.default_rng(int(arch.id, 16))
        macs = exit_macs(arch)
        ms = tuple(0.01 + count / 2e7 * float(chance.normal(1, 0.03)) for count in macs)
        if ms[0] > 1.2 * LIMIT_MS:
            found = Findings(arch, {self._profile: ms})
            return Trial(0, arch.id, proposal.params, "failed", findings=found, attrs=proposal.attrs, reason="too slow")
        error = float(np.clip(3 * macs[-1] ** -0.2 * chance.normal(1, 0.05), 0.01, 0.9))
        curve = tuple((1 - error * (1 + i / CURVE), macs[-1] * (1 - i / 2 / CURVE)) for i in range(CURVE))
        shares = tuple([1 / len(macs)] * len(macs))
        mean = {self._profile: float(np.mean(ms))}
        judged = Judged(1 - error, shares[1:], shares, shares, float(np.mean(macs)), macs, 9, 36, mean, curve)
        objectives, limits = (error, judged.macs, mean[self._profile]), (mean[self._profile] / LIMIT_MS - 1,)
        found = Findings(arch, {self._profile: ms}, judged, 1.0)
        return Trial(0, arch.id, proposal.params, "complete", objectives, limits, found, proposal.attrs)

    def row(self) -> Row:
        """What was noted."""
        n, fifth = self.done, self.done // 5
        return {
            "first_ms": round(1000 * (self.cpu[fifth] - self.cpu[0]) / fifth, 2),
            "last_ms": round(1000 * (self.cpu[n] - self.cpu[n - fifth]) / fifth, 2),
            "rss_mb": round(self.rss[n], 1),
            "growth_mb": round(self.rss[n] - self.rss[n // 10], 1),
        }


def setting(searcher: str, candidates: int) -> Setting:
    """The recipe, its profile, data that nobody looks at, and the space."""
    recipe = load_recipe(resources.find("search", "cifar10"))
    search = recipe.search.model_copy(
        update={"trials": candidates, "hours": None, "patience": None, "searcher": searcher, "latency_of": None}
    )
    few = Split(np.zeros((20, 3, 32, 32), np.uint8), np.arange(20) % 10)
    dataset = Dataset("stand-in", few, few, few, tuple("abcdefghij"), (0.5,) * 3, (0.2,) * 3, "stand-in")
    profile = HardwareProfile.model_validate({"name": "device", "limits": {"latency_ms": LIMIT_MS}})
    return recipe.model_copy(update={"search": search}), (profile,), dataset, Space(recipe.space, (3, 32, 32), 10)


@contextmanager
def opened(run: Setting, folder: Path) -> Iterator[RunContext]:
    """A run in `folder` as `pipeline` would have made it."""
    recipe, profiles, dataset, space = run
    known = {"recipe": recipe, "profiles": profiles, "dataset": dataset}
    context = SimpleNamespace(**known, workers=1, training_seconds=lambda options: 1.0)
    meter = Meter(tell=lambda *_: None)
    with open_run(folder, recipe, profiles, {"dataset": dataset.fingerprint}) as store, meter:
        store.update_manifest(data=describe(dataset))
        store.open_study(("error", "macs", "params"), space)
        yield RunContext(store, cast(Any, context), space, meter)


def search(searcher: str, candidates: int) -> Row:
    """The whole loop."""
    with TemporaryDirectory(prefix="erde-nas-large-") as scratch:
        folder, run = Path(scratch) / "run", setting(searcher, candidates)
        pool = StandIn(run[3], "device", folder, candidates)
        with opened(run, folder) as context:
            explore(context, pool)
        begin = time.process_time()
        with opened(run, folder) as context:
            explore(context, pool)
        resumed, fifth = time.process_time() - begin, candidates // 5
        first, last = (pool.reports[count] for count in (fifth, candidates))
        return {
            **pool.row(),
            "first_kb": round(pool.bytes[fifth] / fifth / 1024, 1),
            "last_kb": round((pool.bytes[candidates] - pool.bytes[candidates - fifth]) / fifth / 1024, 1),
            "first_report_ms": round(1000 * first["seconds"] / fifth, 2),
            "report_ms": round(1000 * last["seconds"] / candidates, 2),
            "report_mb": round(last["peak_mb"] - first["peak_mb"], 1),
            "resume_s": round(resumed, 1),
        }


def ask(searcher: str, candidates: int) -> Row:
    """The searcher alone."""
    recipe, _, _, space = setting(searcher, candidates)
    pool, population = StandIn(space, "device", None, candidates), recipe.search.population
    told = make_searcher(searcher, space, objectives=3, seed=0, population=population)
    while pool.done < candidates:
        pool.submit(told.ask(), "")
        evaluated = pool.next(0)
        assert evaluated is not None
        told.tell(evaluated.trial)
    return pool.row()


def report(folder: Path) -> Row:
    """A report of a run at work, in this process."""
    begin = time.process_time()
    with TemporaryDirectory(prefix="erde-nas-large-") as target:
        write_report(Path(target), report_so_far(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.process_time() - begin, "peak_mb": peak}


def child(*words: str) -> Row:
    """What this script prints for these words, in a process of its own."""
    found = subprocess.run([sys.executable, __file__, "--child", *words], check=True, stdout=subprocess.PIPE, text=True)
    return cast(Row, json.loads(found.stdout.splitlines()[-1]))


def profiled(work: Callable[[], Row]) -> Row:
    """The same; and what took most of it, on stderr."""
    profile = cProfile.Profile()
    row = profile.runcall(work)
    pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
    return row


def main() -> None:
    """Measure what is asked for; all, if nothing is: `search` for the default searcher, `ask` for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=("search", "ask", "report", []), default=[])
    parser.add_argument("--searcher", action="append", choices=list(SEARCHERS))
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--profile-calls", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        works = {"search": search, "ask": ask}
        (part,), (name,) = options.parts, options.searcher or [""]
        work = partial(report, options.folder) if part == "report" else partial(works[part], name, options.candidates)
        print(json.dumps(profiled(work) if options.profile_calls else work()))
        return
    for part in options.parts or ["search", "ask"]:
        for name in options.searcher or (["surrogate"] if part == "search" else list(SEARCHERS)):
            more = ["--profile-calls"] if options.profile_calls else []
            found = child(part, "--searcher", name, "--candidates", str(options.candidates), *more)
            row = {"part": part, "searcher": name, "candidates": options.candidates, **found}
            print(row, flush=True)
            if not options.profile_calls:
                write({**dict.fromkeys(FIELDS, ""), **row, "cpu": describe_machine().cpu})


def write(row: Row) -> None:
    """Put a row into the CSV in place of the one that it has of that part, searcher and number."""
    key = ("part", "searcher", "candidates")
    rows: list[Row] = []
    if RESULTS.exists():
        with RESULTS.open() as file:
            rows = [old for old in csv.DictReader(file) if any(old[name] != str(row[name]) for name in key)]
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows(
            sorted([*rows, row], key=lambda one: (one["part"] == "ask", list(SEARCHERS).index(one["searcher"])))
        )


if __name__ == "__main__":
    main()
