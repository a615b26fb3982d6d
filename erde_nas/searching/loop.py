"""Ask, evaluate, store, tell: the search itself, until its budget is spent. As many candidates at once as the pool has
workers; the searcher learns from each one as it is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Literal

from erde_nas.errors import SpaceExhausted, UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.weights import recorded_digest, save_packed
from erde_nas.progress import interrupt
from erde_nas.progress.event import Candidate
from erde_nas.run.context import RunContext
from erde_nas.searching.limits import Screen
from erde_nas.searching.objectives import objective_names
from erde_nas.searching.plan import after_search_s, candidate_s
from erde_nas.searching.retry import Postponed
from erde_nas.searching.searchers import Searcher, make_searcher
from erde_nas.searching.stop import Budget
from erde_nas.searching.workers.interface import Evaluated, Pool
from erde_nas.space.trial import Proposal, Trial

POLL_S = 1.0  # between two looks at what other searches have done
SCREENED = 200  # architectures in a row that no training could bring under the limits, before the search ends
NO_BOUND = 10**9  # candidates, where the recipe names no number


def explore(run: RunContext, pool: Pool) -> None:
    """Evaluate candidates until the recipe's budget is spent; those that are stored count."""
    search = _Search(run, pool)
    with run.store.timed("search"), run.store.study.at_work():
        try:
            while search.submit() or search.waits():
                search.collect()
                interrupt.check()
        except KeyboardInterrupt:
            interrupt.answered()
            for _ in range(pool.size):  # what is done is kept; a measurement that was interrupted too is an error
                with suppress(UserError):
                    search.keep(pool.next(0))
            search.record()
            raise
    search.conclude()


class _Search:
    """The state of one search at work: what its searcher was told, what its pool is at, and why it ends."""

    def __init__(self, run: RunContext, pool: Pool) -> None:
        self._run, self._pool, self._study = run, pool, run.store.study
        self._section = run.context.recipe.search
        self._searcher, self._screen = _searcher(run), Screen(run.context.profiles, run.context.dataset)
        self._pace = replace(run.pace, workers=pool.size)
        self._budget = Budget(self._section)
        for trial in self._study.news():
            self._learn(trial)
            run.meter.recall(_candidate(trial))
        self._known = self._budget.trials
        self._exhausted = self._end = ""  # why nothing new is proposed any more, and why the search is over
        self._postponed = Postponed(pool.size)
        self._own_s = 0.0  # what asking, telling and storing took

    def submit(self) -> bool:
        """Give every free worker a candidate that is this search's to evaluate; whether there was one."""
        self._end = self._end or self._budget.spent(self._run.store.seconds(), self._seconds_after_search())
        if self._end:
            return False
        before, total = self._pool.busy, self._section.trials or NO_BOUND
        self._resume(nothing_else=False)
        for proposal in self._study.lost()[: self._pool.size - self._pool.busy]:
            self._claim(proposal, self._run.space.decode(proposal.params), total)
        while self._pool.busy < self._pool.size and not self._exhausted and self._study.open_places(total) > 0:
            try:
                with self._own_time():
                    self._claim(*self._ask(), total)
            except SpaceExhausted as error:
                self._exhausted = str(error)
        self._resume(nothing_else=not self._pool.busy)
        return self._pool.busy > before

    def _resume(self, nothing_else: bool) -> None:
        """Candidates that passing trouble stopped get their second chance. They are claimed already."""
        for proposal, student in self._postponed.retries(self._pool.size - self._pool.busy, nothing_else):
            self._pool.submit(proposal, student)

    def waits(self) -> bool:
        """Whether there is something to wait for: this search's candidates, or others' that may come back to it."""
        return bool(self._pool.busy or (not self._end and self._study.elsewhere()))

    def collect(self) -> None:
        """Wait a moment for a candidate to be done, and learn from all that are, whoever evaluated them."""
        if self._pool.busy:
            self.keep(self._pool.next(POLL_S))
        else:
            self._run.meter.add("search", 0, f"waits for {self._study.elsewhere()} candidates of other searches")
            time.sleep(POLL_S)
        for trial in self._study.news():
            with self._own_time():
                self._learn(trial)
            self._report(trial)

    def keep(self, evaluated: Evaluated | None) -> None:
        """Store a finished candidate, its weights first: a trial that is stored has them."""
        if evaluated is None:
            return
        trial, store = evaluated.trial, self._run.store
        if self._postponed.postpones(trial, evaluated.lost, evaluated.again):
            self._run.meter.say(f"search {trial.student} comes back later: {trial.reason}")
            return
        with self._own_time():
            if evaluated.weights is not None and trial.findings is not None:
                folder = store.student(trial.student)
                save_packed(trial.findings.arch, evaluated.weights, folder)
                digest = recorded_digest(folder / "weights.safetensors")
                store.update_student(trial.student, stage="searched", searched=trial.findings, weights=digest)
            store.add(trial)

    def record(self) -> None:
        """Add to the manifest what the search itself took, and what it did not measure because of a forecast."""
        store, skipped = self._run.store, self._screen.forecast.skipped
        before = store.manifest()
        store.update_manifest(overhead_s=round(before.overhead_s + self._own_s, 3))
        if any(skipped.values()):
            known = before.latency_skipped or {}
            store.update_manifest(
                latency_skipped={name: tuple(sorted({*known.get(name, ()), *ids})) for name, ids in skipped.items()}
            )

    def conclude(self) -> None:
        """Say why the search ended. Raises UserError where there was nothing to evaluate."""
        self.record()
        reason = self._end or self._exhausted
        if not self._budget.trials:
            raise UserError(f"there is no candidate to train: {reason}; raise a limit, or widen the recipe's space")
        self._run.meter.close("search")
        if reason and self._budget.trials > self._known:
            self._run.meter.say(f"search ended: {reason}")

    def _learn(self, trial: Trial) -> None:
        self._searcher.tell(trial)
        self._screen.learn(trial)
        self._budget.learn(trial)

    def _ask(self) -> tuple[Proposal, Arch]:
        """The next candidate that could keep the limits. Raises SpaceExhausted where there is none."""
        for _ in range(SCREENED):
            try:
                proposal = self._searcher.ask()
            except SpaceExhausted as error:
                raise SpaceExhausted(f"{error}{self._screen.summary()}") from None
            arch = self._run.space.decode(proposal.params)
            if self._screen.admits(arch):
                return proposal, arch
        raise SpaceExhausted(f"the last {SCREENED} proposals could keep the limits in no case{self._screen.summary()}")

    def _claim(self, proposal: Proposal, arch: Arch, total: int) -> None:
        if self._study.claim(proposal, arch.id, total):
            self._pool.submit(proposal, arch.id)

    @contextmanager
    def _own_time(self) -> Iterator[None]:
        """Count the time spent inside as the search's own."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._own_s += time.perf_counter() - begin

    def _seconds_after_search(self) -> float:
        """Estimated seconds of everything after the search."""
        return sum(after_search_s(self._run.context.recipe, self._pace).values())

    def _report(self, trial: Trial) -> None:
        total = self._section.trials
        count = f"{trial.number + 1}" if total is None else f"{trial.number + 1}/{total}"
        if hours := self._section.hours:
            self._run.meter.within("search", 3600 * hours - self._run.store.seconds() - self._seconds_after_search())
        seconds = candidate_s(self._run.context.recipe, self._pace)
        self._run.meter.candidate(_candidate(trial), seconds, f"{count}: {_line(trial)}")


def _searcher(run: RunContext) -> Searcher:
    section = run.context.recipe.search
    names = objective_names(section, run.context.profiles)
    return make_searcher(
        section.searcher, run.space, objectives=len(names), seed=section.seed, population=section.population
    )


def _candidate(trial: Trial) -> Candidate:
    judged = trial.judged
    if trial.state == "failed" or judged is None:
        return Candidate(trial.student, "failed")
    state: Literal["complete", "over limits"] = "complete" if trial.feasible else "over limits"
    return Candidate(trial.student, state, judged.val_accuracy, judged.macs, judged.latency_ms)


def _line(trial: Trial) -> str:
    judged = trial.judged
    if judged is None:
        return f"{trial.student} failed: {trial.reason}"
    latencies = ", ".join(f"{ms:.3f} ms {name}" for name, ms in judged.latency_ms.items())
    return f"{trial.student} {judged.val_accuracy:.1%} at {judged.macs / 1e6:.2f} M MACs, {latencies}"
