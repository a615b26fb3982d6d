"""How many workers one search keeps busy: simulated evaluations, real ask, tell, claim and store.

    python benchmarks/scale.py                                            in memory, and study.db
    python benchmarks/scale.py --storage postgresql://user@host/empty     and a shared study

1. What a search does for one candidate between two evaluations is run and timed, with 0, 1,000 and 10,000 trials
   stored: the searcher's ask and tell, the claim, the trial, the weights' file. Times are CPU seconds of this process,
   and of a database server on this machine, so that other work here does not count; every statement of SQL is
   counted, and a round trip and the disk's confirmation of a commit are added as --round-trip-ms and --commit-ms.
2. A search that does this one candidate after another is simulated with 1 to 1,000 workers, whose evaluations last
   as long as --seconds on average (lognormal, sigma 0.4). Utilisation is the share of its time that a worker trains,
   from its first candidate until there are no more to give.

Results: benchmarks/results/scale-cost.csv and scale-utilisation.csv.
"""

import argparse
import csv
import heapq
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import sqlalchemy
from sqlalchemy import Engine, event

from erde_nas.errors import UserError
from erde_nas.networks.weights import save_packed
from erde_nas.recipe.space import SpaceSection
from erde_nas.run.students import StudentRecord, write_student
from erde_nas.run.studies import shared
from erde_nas.run.studies.interface import Study
from erde_nas.run.studies.local import LocalStudy
from erde_nas.run.studies.shared import Membership, SharedStudy
from erde_nas.searching.searchers import Searcher, make_searcher
from erde_nas.space.findings import Findings, Judged
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial

RESULTS = Path(__file__).parent / "results"
STORED = (0, 1000, 10_000)
CANDIDATES = 10_000
WORKERS = (1, 10, 30, 100, 300, 1000)
REPEATS = 48
READ_EVERY = 16  # candidates: a shared study is read once a second, and 1,000 workers at 60 s finish 16.7 in that
WEIGHTS = 1_000_000  # bytes of a student of 250,000 parameters
SECTION = SpaceSection(depths=((1, 2, 3),) * 3, widths=((8, 16, 24), (16, 32, 48), (32, 64, 96)))
CURVE = tuple((i / 701, i / 907) for i in range(100))
JUDGED = Judged(0.9, (0.5, 0.5), (0.2, 0.3, 0.5), (0.7, 0.8, 0.9), 2.0, (1, 2, 3), 9, 36, {"cpu-1thread": 1 / 3}, CURVE)
SERIES = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) "


@dataclass
class Clock:
    """What a database has to do: its server's CPU seconds, and the SQL that it was sent."""

    servers: list[psutil.Process] = field(default_factory=list)
    statements: int = 0
    commits: int = 0

    def server(self) -> float:
        """CPU seconds of the database's server so far."""
        seconds = 0.0
        for server in self.servers:
            for process in [server, *server.children()]:
                with suppress(psutil.Error):
                    seconds += sum(process.cpu_times()[:2])
        return seconds

    def watch(self, engine: Engine) -> None:
        """Count the SQL of an engine."""

        def on_statement(*_: object) -> None:
            self.statements += 1

        def on_commit(_: object) -> None:
            self.commits += 1

        event.listen(engine, "after_cursor_execute", on_statement)
        event.listen(engine, "commit", on_commit)


def main() -> None:
    """Measure, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", help="URL of an empty database")
    parser.add_argument("--searcher", default="nsga2")
    parser.add_argument("--seconds", type=float, nargs="+", default=[15.0, 60.0, 300.0])
    parser.add_argument("--round-trip-ms", type=float, default=0.5)
    parser.add_argument("--commit-ms", type=float, default=2.0)
    options = parser.parse_args()
    space = Space(SECTION, (3, 32, 32), 10)
    costs, rows = [], []
    with TemporaryDirectory(prefix="erde-nas-scale-") as folder:
        for stored in STORED:
            searcher = told(stored, space, options.searcher)
            for kind in ("memory", "sqlite", *(["shared"] if options.storage else [])):
                row = measure(kind, stored, searcher, space, options, Path(folder) / f"{kind}-{stored}")
                costs.append({"storage": kind, "searcher": options.searcher, "stored": stored, **row})
                print(costs[-1], flush=True)
    for kind in dict.fromkeys(cost["storage"] for cost in costs):
        known = [(cost["stored"], cost["total_ms"] / 1000) for cost in costs if cost["storage"] == kind]
        for seconds in options.seconds:
            for workers in WORKERS:
                share = utilisation(workers, seconds, known)
                values = {"storage": kind, "evaluation_s": seconds, "workers": workers, "utilisation": f"{share:.4f}"}
                rows.append(values)
                print(values, flush=True)
    write(RESULTS / "scale-cost.csv", costs)
    write(RESULTS / "scale-utilisation.csv", rows)


def told(count: int, space: Space, name: str) -> Searcher:
    """A searcher that knows so many trials."""
    generator = np.random.default_rng(count)
    searcher = make_searcher(name, space, objectives=2, seed=0, population=50)
    for number in range(count):
        searcher.tell(trial(space, random_proposal(space, generator), generator, number))
    return searcher


def measure(
    kind: str, stored: int, searcher: Searcher, space: Space, options: argparse.Namespace, folder: Path
) -> dict[str, float]:
    """Milliseconds per candidate of every step when `stored` trials are there (means), and their sum."""
    folder.mkdir()
    clock, generator = Clock(), np.random.default_rng(stored)
    study = open_study(kind, stored, space, options, folder, clock)
    times: dict[str, list[float]] = {"ask": [], "claim": [], "weights": [], "store": [], "tell": []}
    begun = (clock.statements, clock.commits, clock.server())
    for number in range(REPEATS):
        shared.READ_S = 0.0 if number % READ_EVERY == 0 else 1e9
        for name, step in steps(searcher, study, space, generator, folder):
            before = time.process_time()
            step()
            times[name].append(1000 * (time.process_time() - before))
    row = {f"{name}_ms": round(statistics.mean(values), 3) if values else 0.0 for name, values in times.items()}
    ended = (clock.statements, clock.commits, clock.server())
    statements, commits, server = ((now - then) / REPEATS for now, then in zip(ended, begun, strict=True))
    row["server_ms"] = round(1000 * server, 3)
    trips = options.round_trip_ms * statements if kind == "shared" else 0.0
    waits = trips + options.commit_ms * commits
    total = round(sum(row.values()) + waits, 3)
    if study is not None:
        study.close()
    return {**row, "statements": statements, "commits": commits, "waits_ms": round(waits, 3), "total_ms": total}


def steps(
    searcher: Searcher, study: Study | None, space: Space, generator: np.random.Generator, folder: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What `explore` does for one candidate, step by step."""
    found: list[Proposal] = []
    yield "ask", lambda: found.append(searcher.ask())
    done = trial(space, found[0], generator, 0)
    if study is not None:
        yield "claim", lambda: (study.lost(), study.open_places(10**6), study.claim(found[0], done.student, 10**6))
    arch = space.decode(done.params)
    student = folder / "students" / done.student

    def weights() -> None:
        save_packed(arch, bytes(WEIGHTS), student)
        write_student(student, StudentRecord("searched", searched=done.findings))

    yield "weights", weights
    if study is not None:
        yield "store", lambda: (study.add(done), study.news())
    yield "tell", lambda: searcher.tell(done)


def trial(space: Space, proposal: Proposal, generator: np.random.Generator, number: int) -> Trial:
    """A finished trial with a made-up result."""
    values = tuple(generator.random(2).tolist())
    student = space.identify(proposal.params)
    found = Findings(space.decode(proposal.params), {"cpu-1thread": (0.1, 0.2, 0.4)}, JUDGED)
    return Trial(number, student, proposal.params, "complete", values, (-0.1,), found, proposal.attrs)


def random_proposal(space: Space, generator: np.random.Generator) -> Proposal:
    """Uniform over the choices."""
    return Proposal({name: c[generator.integers(len(c))] for name, c in space.parameters.items()}, {})


def open_study(
    kind: str, stored: int, space: Space, options: argparse.Namespace, folder: Path, clock: Clock
) -> Study | None:
    """A study with so many trials: one is stored as always and then copied inside the database."""
    if kind == "memory":
        return None
    generator = np.random.default_rng(1)
    first = trial(space, random_proposal(space, generator), generator, 0)

    def opened() -> LocalStudy | SharedStudy:
        if kind == "sqlite":
            return LocalStudy(folder / "study.db", ("error", "macs"), space)
        of = Membership(f"scale{stored}", {"is": "a benchmark"}, folder.name)
        return SharedStudy(options.storage, of, ("error", "macs"), space)

    study = opened()
    if stored:
        study.claim(Proposal(first.params), first.student, stored)
        study.add(first)
        engine = (
            study._engine
            if isinstance(study, SharedStudy)
            else sqlalchemy.create_engine(f"sqlite:///{folder}/study.db")
        )
        multiply(engine, stored, first.student, shared=kind == "shared")
        study.close()
        study = opened()
    if isinstance(study, SharedStudy):
        clock.watch(study._engine)
        assert study._storage is not None
        clock.watch(study._storage.engine)
        clock.servers = [p for p in psutil.process_iter(["name", "cmdline"]) if is_server(p, options.storage)]
    else:
        clock.watch(study._storage.engine)
    study.news()
    return study


def is_server(process: psutil.Process, url: str) -> bool:
    """Whether it is the first process of the PostgreSQL server at that port, of which all others are children."""
    words = process.info["cmdline"] or []
    return process.info["name"] == "postgres" and "-D" in words and str(sqlalchemy.make_url(url).port) in words


def multiply(engine: Engine, count: int, name: str, *, shared: bool) -> None:
    """Copy the newest study's first trial, of the student `name`, until there are `count`, each of another student."""
    own = "(SELECT MAX(study_id) FROM trials)"
    first = f"(SELECT MIN(trial_id) FROM trials WHERE study_id = {own})"
    copies = f"FROM trials t JOIN {{table}} o ON o.trial_id = {first} WHERE t.study_id = {own} AND t.trial_id > {first}"
    columns = {
        "trial_params": "param_name, param_value, distribution_json",
        "trial_values": "objective, value, value_type",
        "trial_user_attributes": "key, value_json",
    }
    replaced = f"REPLACE(value_json, '{name}', 's' || trial_id)"
    with engine.begin() as connection:

        def run(text: str) -> None:
            connection.execute(sqlalchemy.text(text))

        series = SERIES.format(count=count - 1)
        names = "number, study_id, state, datetime_start, datetime_complete"
        values = "series.n, study_id, state, datetime_start, datetime_complete"
        if engine.dialect.name == "sqlite":
            run(f"INSERT INTO trials ({names}) {series} SELECT {values} FROM trials, series WHERE trial_id = {first}")
        else:
            run(f"{series} INSERT INTO trials ({names}) SELECT {values} FROM trials, series WHERE trial_id = {first}")
        for table, rest in columns.items():
            chosen = ", ".join(f"o.{name.strip()}" for name in rest.split(","))
            run(f"INSERT INTO {table} (trial_id, {rest}) SELECT t.trial_id, {chosen} {copies.format(table=table)}")
        run(f"UPDATE trial_user_attributes SET value_json = {replaced} WHERE trial_id > 0")
        if shared:
            values = "study, 's' || series.n, series.n, search, deaths, done, proposal FROM erde_nas_claims, series"
            names = "study, student, place, search, deaths, done, proposal"
            last = f"WHERE study = 'scale{count}' AND place = 0"
            head = (f"INSERT INTO erde_nas_claims ({names})", series)
            run(" ".join([*(head if engine.dialect.name == "sqlite" else head[::-1]), f"SELECT {values} {last}"]))


def utilisation(workers: int, mean_s: float, known: list[tuple[int, float]]) -> float:
    """The share of its time that a worker trains while one search serves `workers` of them, one after another.

    `known`: (trials stored, seconds per candidate), between which it is interpolated.
    """
    generator = np.random.default_rng(workers)
    sigma = 0.4
    lasts = generator.lognormal(np.log(mean_s) - sigma**2 / 2, sigma, CANDIDATES)
    costs = np.interp(np.arange(CANDIDATES), *zip(*known, strict=True))
    free = [(0.0, worker) for worker in range(workers)]  # when each asks for its next candidate
    now, trained, lived = 0.0, 0.0, 0.0
    for cost, seconds in zip(costs, lasts, strict=True):
        asked, worker = heapq.heappop(free)
        now = max(now, asked) + cost
        trained += seconds
        lived += now - asked + seconds
        heapq.heappush(free, (now + seconds, worker))
    return trained / lived


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows of equal keys as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
