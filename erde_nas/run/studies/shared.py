"""A study that several searches share, in a database that all of them reach: `--storage postgresql://...`.

Finished trials are Optuna's, written whole; who is at which candidate stands in `claims`. Searches learn from each
other's trials, evaluate nothing twice, and take over what a dead one was at.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from erde_nas.errors import UserError
from erde_nas.run.manifest import differing
from erde_nas.run.studies.claims import Claim, Claims
from erde_nas.run.studies.database import answering, connect, make_tables, open_optuna, parse_url, public
from erde_nas.run.studies.records import distributions, freeze, name_objectives, thaw
from erde_nas.run.studies.whole import WholeTrialStorage
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Proposal, Trial

READ_S = 1.0  # reading costs more than anything else that is done for a candidate
HEARTBEAT_S = 15.0
GRACE_S = 60.0  # without a heartbeat, after which a search counts as dead
DEATHS = 2  # of searches that were at a candidate, before it counts as failed
ATTRIBUTE = "erde-nas"  # of the study: what it belongs to


@dataclass(frozen=True)
class Membership:
    """The study's name, a hash per part of what must be the same in all its searches, and the id of this search."""

    study: str
    parts: dict[str, str]
    search: str


class SharedStudy:
    """See `interface.Study`."""

    def __init__(self, url: str, of: Membership, objectives: Sequence[str], space: SearchSpace) -> None:
        """Open or create the study. Raises UserError where that is impossible, or it is another one."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._url, self._choices = parse_url(url), distributions(space)
        self._engine = connect(self._url)
        self._storage: WholeTrialStorage | None = None
        try:
            self._open(of, objectives)
        except BaseException:
            self.close()
            raise
        self._fresh: list[Trial] = []  # finished, and not told yet
        self._students: set[str] = set()  # of the finished trials
        self._read_at = float("-inf")
        self._known = -1  # the id of the last stored trial that was read
        self._others: list[Claim] = []
        self._lost: dict[str, Claim] = {}

    def _open(self, of: Membership, objectives: Sequence[str]) -> None:
        with answering(self._url):
            self._storage = open_optuna(self._url)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=of.study,
                directions=["minimize"] * len(objectives),
                load_if_exists=True,
            )
            self._id = self._storage.get_study_id_from_name(of.study)
            self._check(of.parts)
            name_objectives(self._study, objectives)
            make_tables(self._engine)
            self._claims = Claims(self._engine, of.study, of.search)

    def _check(self, parts: dict[str, str]) -> None:
        found = self._study.user_attrs.get(ATTRIBUTE)
        if found is None and not self._stored():
            self._study.set_user_attr(ATTRIBUTE, parts)
            found = self._study.user_attrs[ATTRIBUTE]
        if found != parts:
            known = found or {}
            differs = differing(known, parts)
            if not differs:
                return
            raise UserError(
                f"--storage {public(self._url)} holds another study named '{self._study.study_name}': "
                f"{', '.join(differs)} differ; give the recipe another name, or use another database"
            )

    def trials(self) -> list[Trial]:
        """See `Study.trials`: in the order in which they were stored."""
        with answering(self._url):
            stored = self._stored()
        first: dict[str, Trial] = {}
        for frozen in stored:
            trial = thaw(frozen, len(first))
            first.setdefault(trial.student, trial)  # twice only where a search was taken for dead and was not
        return list(first.values())

    def news(self) -> list[Trial]:
        """See `Study.news`. Those of other searches are looked for once in `READ_S`."""
        if time.monotonic() - self._read_at >= READ_S:
            self._read()
        news, self._fresh = self._fresh, []
        return news

    def _read(self) -> None:
        with answering(self._url):
            stored = self._stored(self._known)
            self._others = self._claims.others()
        for frozen in stored:
            self._note(thaw(frozen, 0))
            self._known = frozen._trial_id
        self._read_at = time.monotonic()

    def _stored(self, after: int = -1) -> list[FrozenTrial]:
        assert self._storage is not None
        return self._storage.stored(self._id, after)

    def _note(self, trial: Trial) -> None:
        if trial.student not in self._students:
            self._fresh.append(replace(trial, number=len(self._students)))
            self._students.add(trial.student)

    def lost(self) -> list[Proposal]:
        """See `Study.lost`. Those that have cost enough searches are stored as failed instead."""
        self._lost = {}
        with answering(self._url):
            dead = self._claims.dead(GRACE_S) if self._others else set()
            for claim in self._others:
                if claim.search is not None and claim.search not in dead:
                    continue
                if claim.student in self._students:  # its search died between the trial and the claim
                    self._claims.close(claim.student)
                elif claim.deaths_now < DEATHS:
                    self._lost[claim.student] = claim
                else:
                    self._give_up(claim)
            return [self._claims.proposal(student) for student in self._lost]

    def _give_up(self, claim: Claim) -> None:
        if self._claims.take_over(claim):
            proposal = self._claims.proposal(claim.student)
            reason = f"the searches that evaluated it died, {DEATHS} times"
            self.add(Trial(0, claim.student, proposal.params, "failed", attrs=proposal.attrs, reason=reason))

    def claim(self, proposal: Proposal, student: str, total: int) -> bool:
        """See `Study.claim`."""
        with answering(self._url):
            if student in self._lost:
                return self._claims.take_over(self._lost.pop(student))
            return self._claims.make(proposal, student, total)

    def add(self, trial: Trial) -> None:
        """See `Study.add`. A trial is dropped where this search was taken for dead and its candidate taken over."""
        with answering(self._url):
            if self._claims.holds(trial.student):
                assert self._storage is not None
                self._storage.create_new_trial(self._id, freeze(trial, self._choices, pack=True))
                self._claims.close(trial.student)
                self._note(trial)

    def open_places(self, total: int) -> int:
        """See `Study.open_places`."""
        with answering(self._url):
            return total - self._claims.places()

    def elsewhere(self) -> int:
        """See `Study.elsewhere`."""
        with answering(self._url):
            return len(self._claims.others())

    def agree(self, name: str, find_out: Callable[[], Any]) -> Any:
        """See `Study.agree`."""
        with answering(self._url):
            known = self._claims.finding(name)
        if known is not None:
            return known
        own = find_out()
        with answering(self._url):
            self._claims.found(name, own)
            return self._claims.finding(name)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """See `Study.at_work`."""
        stop = threading.Event()
        heart = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        heart.start()
        try:
            yield
        finally:
            stop.set()
            heart.join()
            with answering(self._url):
                self._claims.give_back()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_S):
            with suppress(SQLAlchemyError):  # the search's own next step will say so
                self._claims.beat()

    def close(self) -> None:
        """See `Study.close`."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._engine.dispose()


def public_url(text: str) -> str:
    """A database URL without its password. Raises UserError."""
    return public(parse_url(text))


def check_storage(text: str) -> None:
    """Raises UserError where the database cannot be opened."""
    connect(parse_url(text)).dispose()
