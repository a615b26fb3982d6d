"""Every searcher replayed on a table of trained students, and what ask and tell cost at 10,000 stored trials.

    python benchmarks/searchers.py [replay] [smooth] [overhead] [--searcher NAME]... [--seeds 30] [--evaluations 200]

`replay` searches the space of search_space.py with error and expected MACs as objectives; every value comes from its
table, so that nothing is trained. Hypervolume is taken below the worst error and the worst MACs of the table, with both
scaled to [0, 1], as a share of that of the whole table. `searchers.csv` holds its mean over seeds and the 95 %
interval (Student's t) after each number of evaluations; `evaluations_to_random`, in each searcher's last row, is the
number after which its mean reaches random search's mean after the last evaluation, with a 95 % interval from 2,000
bootstrap samples of the seeds. `searchers.png` is the figure. `smooth` does the same (searchers-smooth.csv and .png) on
what a Gaussian process (scikit-learn's, fitted to the whole table) takes for the students' error without the chance of
their trainings: how much of a searcher's way is due to that chance.

`overhead` tells searchers 10,000 trials of the CIFAR-10 recipe's space, and counts the MACs of every 20th, as the
search that had proposed them would have; then it times (searchers-overhead.csv): by the
clock, and `cpu_ms`, the median of the process's own time, which other work on the machine delays less.
Searchers run one after the other, and each searcher's rows are written when it is done: one searcher can be run again.
"""

import argparse
import csv
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import search_space
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from erde_nas.comparison.figure import COLOURS
from erde_nas.comparison.statistics import estimate
from erde_nas.device.machine import describe_machine
from erde_nas.pareto import hypervolume, non_dominated
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.recipe import load_recipe
from erde_nas.registry import SEARCHERS
from erde_nas.searching.searchers import make_searcher
from erde_nas.searching.searchers.surrogate import Description
from erde_nas.space.space import Space
from erde_nas.space.trial import Choice, Trial

RESULTS = Path(__file__).parent / "results"
CURVES, OVERHEAD = "searchers{}.csv", "searchers-overhead.csv"
POPULATION = 8  # the recipes' default
STORED = 10_000
TIMED = 21  # asks and tells
BOOTSTRAP = 2_000
Floats = NDArray[np.float64]
Row = dict[str, Any]


def load_table(path: Path, smooth: bool) -> dict[str, tuple[float, float]]:
    """(error, expected MACs) of every student, scaled to [0, 1] by the table's range. Raises SystemExit for a hole."""
    known = search_space.architectures(search_space.make_space())
    with path.open() as file:
        rows = {row["student"]: (1 - float(row["val_accuracy"]), float(row["macs"])) for row in csv.DictReader(file)}
    missing = known.keys() - rows.keys()
    if missing:
        raise SystemExit(f"{path} lacks {len(missing)} students: run benchmarks/search_space.py to the end first")
    values = np.array(list(rows.values()))
    if smooth:
        values[:, 0] = smoothed([known[student] for student in rows], values[:, 0])
    scaled = (values - values.min(axis=0)) / np.ptp(values, axis=0)
    return dict(zip(rows, map(tuple, scaled.tolist()), strict=True))


def smoothed(candidates: Sequence[dict[str, Choice]], errors: Floats) -> Floats:
    """The mean of a Gaussian process fitted to the logarithm of all errors; prints how much it takes for noise."""
    points = Description(search_space.make_space())(candidates)
    points = points[:, np.ptp(points, axis=0) > 0]
    kernel = ConstantKernel() * Matern(np.ones(points.shape[1]), nu=2.5) + WhiteKernel()
    process = GaussianProcessRegressor(kernel, normalize_y=True).fit(points, np.log(errors))
    print(f"{process.kernel_.k2.noise_level:.3f} of the variance of the logarithm of the error is noise", flush=True)
    return np.exp(process.predict(points))


def replay(name: str, seed: int, space: Space, table: dict[str, tuple[float, float]], evaluations: int) -> Floats:
    """The share of the table's hypervolume after each evaluation."""
    searcher = make_searcher(name, space, objectives=2, seed=seed, population=POPULATION)
    front, shares = np.empty((0, 2)), []
    whole = hypervolume(list(table.values()), (1.0, 1.0))
    for number in range(evaluations):
        proposal = searcher.ask()
        student = space.identify(proposal.params)
        values = table[student]
        searcher.tell(Trial(number, student, proposal.params, "complete", values, attrs=proposal.attrs))
        front = np.vstack([front, values])
        front = front[non_dominated(front)]
        shares.append(hypervolume(front, (1.0, 1.0)) / whole)
    return np.array(shares)


def reached(curves: Floats, target: float) -> float:
    """The first number of evaluations after which the mean of `curves` (seeds, evaluations) is at least `target`."""
    above = np.flatnonzero(curves.mean(axis=0) >= target - 1e-12)
    return float(above[0] + 1) if len(above) else float("inf")


def reached_ci95(curves: Floats, reference: Floats) -> tuple[float, float]:
    """A bootstrap interval of `reached`: seeds of both searchers are drawn anew."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(BOOTSTRAP):
        ours, theirs = (of[generator.integers(len(of), size=len(of))] for of in (curves, reference))
        found.append(reached(ours, theirs[:, -1].mean()))
    low, high = np.quantile(found, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def curve_rows(name: str, curves: Floats, reference: Floats) -> list[Row]:
    """One row per number of evaluations."""
    low, high = reached_ci95(curves, reference)
    last = {"evaluations_to_random": reached(curves, reference[:, -1].mean()), "least": low, "most": high}
    rows = []
    for number in range(curves.shape[1]):
        found = estimate(curves[:, number].tolist())
        row = {"searcher": name, "evaluations": number + 1, "hypervolume": round(found.mean, 5)}
        end = number + 1 == curves.shape[1]
        rows.append(row | {"ci95": round(found.ci95, 5), "seeds": found.n} | (last if end else dict.fromkeys(last, "")))
    return rows


def replay_all(names: Sequence[str], seeds: int, evaluations: int, smooth: bool) -> None:
    """Replay the searchers and write CSV and figure."""
    table, space = load_table(search_space.TABLE, smooth), search_space.make_space()
    curves = RESULTS / CURVES.format("-smooth" if smooth else "")

    def curves_of(name: str) -> Floats:
        return np.array([replay(name, seed, space, table, evaluations) for seed in range(seeds)])

    reference = curves_of("random")
    for name in names:
        rows = curve_rows(name, reference if name == "random" else curves_of(name), reference)
        write(curves, name, rows)
        to_random = " ".join(f"{rows[-1][key]:.0f}" for key in ("evaluations_to_random", "least", "most"))
        print(f"{name}: reaches random search's last hypervolume after {to_random} (95 % interval)", flush=True)
    draw(curves, curves.with_suffix(".png"))


def write(path: Path, name: str, rows: list[Row]) -> None:
    """Put one searcher's rows into a CSV in place of those that it has."""
    kept: list[Row] = []
    if path.exists():
        with path.open() as file:
            kept = [row for row in csv.DictReader(file) if row["searcher"] != name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(sorted([*kept, *rows], key=lambda row: list(SEARCHERS).index(row["searcher"])))


def draw(source: Path, target: Path) -> None:
    """Hypervolume against evaluations, with intervals."""
    with source.open() as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(row["searcher"] for row in rows))
    for number, name in enumerate(names):
        x, mean, ci95 = (
            np.array([float(row[key]) for row in rows if row["searcher"] == name])
            for key in ("evaluations", "hypervolume", "ci95")
        )
        axes.plot(x, mean, color=COLOURS[number % len(COLOURS)], label=name)
        axes.fill_between(x, mean - ci95, mean + ci95, color=COLOURS[number % len(COLOURS)], alpha=0.15, linewidth=0)
        if name == "random":
            axes.axhline(mean[-1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="evaluations", ylabel="hypervolume, share of the whole table's", ylim=(0.7, 1.005))
    axes.set_title("Searchers on the table of Fashion-MNIST students: mean over seeds, 95 % intervals")
    axes.legend(frameon=False, loc="lower right")
    FigureCanvasAgg(figure).print_png(str(target))


def overhead(name: str) -> Row:
    """Median, least and most milliseconds of ask and tell together, with `STORED` trials told before."""
    recipe = load_recipe(resources.find("search", "cifar10"))
    space, generator = Space(recipe.space, (3, 32, 32), 10), np.random.default_rng(0)

    def trial(number: int, params: dict[str, Choice], attrs: dict[str, Any]) -> Trial:
        size = sum(choice for choice in params.values() if not isinstance(choice, str))
        values = (1 / size + generator.normal(0, 1e-4), float(size), size * generator.uniform(0.9, 1.1))
        return Trial(number, str(number), params, "complete", values, attrs=attrs)

    searcher = make_searcher(name, space, objectives=3, seed=0, population=recipe.search.population)
    begin = time.perf_counter()
    for number in range(STORED):
        params = {key: choices[generator.integers(len(choices))] for key, choices in space.parameters.items()}
        searcher.tell(trial(number, params, {}))
        if number % 20 == 0:
            space.costs(params)  # a process that has come so far has counted the MACs of every kind of block
    told = time.perf_counter() - begin
    searcher.ask()  # the grid has to be walked to where the trials end
    times, cpu = [], []
    for number in range(STORED, STORED + TIMED):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        proposal = searcher.ask()
        searcher.tell(trial(number, proposal.params, proposal.attrs))
        times.append(1e3 * (time.perf_counter() - begin))
        cpu.append(1e3 * (time.process_time() - begin_cpu))
    return {
        "searcher": name,
        "ask_tell_ms": round(statistics.median(times), 2),
        "least": round(min(times), 2),
        "most": round(max(times), 2),
        "cpu_ms": round(statistics.median(cpu), 2),
        "n": TIMED,
        "stored_trials": STORED,
        "objectives": 3,
        "parameters": len(space.parameters),
        "resume_s": round(told, 2),
        "cpu": describe_machine().cpu,
        "load_average": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Do what is asked for; both, if nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=("replay", "smooth", "overhead", []), default=[])
    parser.add_argument("--searcher", action="append", choices=list(SEARCHERS))
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--evaluations", type=int, default=200)
    arguments = parser.parse_args()
    parts = arguments.parts or ["overhead", "replay", "smooth"]
    names = arguments.searcher or list(SEARCHERS)
    for name in names if "overhead" in parts else ():
        row = overhead(name)
        write(RESULTS / OVERHEAD, name, [row])
        print(f"{name}: {row['ask_tell_ms']} ms to ask and tell with {STORED} trials stored", flush=True)
    for part in ("replay", "smooth"):
        if part in parts:
            replay_all(names, arguments.seeds, arguments.evaluations, part == "smooth")


if __name__ == "__main__":
    main()
