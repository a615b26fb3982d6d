"""Which search is at which candidate, and what one has found out for all, in three tables beside Optuna's.

A candidate is claimed by inserting its row, which the primary key allows one search alone; its `place` among all
candidates of the study, unique too, keeps their number within the budget. Nothing is locked and no clock is read: a
search shows that it is alive by counting, and whoever sees its count stand still for long takes it for dead.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from erde_nas.space.trial import Proposal

META = MetaData()
SEARCHES = Table(
    "erde_nas_searches",
    META,
    Column("search", String(36), primary_key=True),
    Column("study", String(255), index=True),
    Column("beats", Integer),
)
CLAIMS = Table(
    "erde_nas_claims",
    META,
    Column("study", String(255), primary_key=True),
    Column("student", String(64), primary_key=True),
    Column("place", Integer),
    Column("search", String(36), nullable=True),  # who is at it; none: it was given back
    Column("deaths", Integer),  # of searches that were at it
    Column("done", Boolean, index=True),
    Column("proposal", Text),  # JSON
    UniqueConstraint("study", "place"),
)

FINDINGS = Table(
    "erde_nas_findings",
    META,
    Column("study", String(255), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Text),  # JSON
)


@dataclass(frozen=True)
class Claim:
    """A candidate that is not finished, and the search that is at it."""

    student: str
    search: str | None
    deaths: int

    @property
    def deaths_now(self) -> int:
        """With that of the search that is at it, if there is one and it is dead."""
        return self.deaths + (self.search is not None)


class Claims:
    """The claims of one study, as one search makes and sees them."""

    def __init__(self, engine: Engine, study: str, search: str) -> None:
        self._engine, self._study, self._search = engine, study, search
        self._beats: dict[str, tuple[int, float]] = {}  # of the other searches: the count, and when it was first seen
        with engine.begin() as connection:
            if not connection.execute(select(SEARCHES).where(SEARCHES.c.search == search)).first():
                connection.execute(insert(SEARCHES).values(search=search, study=study, beats=0))
            left = and_(CLAIMS.c.search == search, CLAIMS.c.done.is_(False))  # by an earlier process of this search
            connection.execute(update(CLAIMS).where(left).values(search=None, deaths=CLAIMS.c.deaths + 1))

    def beat(self) -> None:
        """Show that this search is alive."""
        mine = SEARCHES.c.search == self._search
        with self._engine.begin() as connection:
            connection.execute(update(SEARCHES).where(mine).values(beats=SEARCHES.c.beats + 1))

    def places(self) -> int:
        """How many candidates were ever claimed."""
        with self._engine.connect() as connection:
            last = connection.execute(select(func.max(CLAIMS.c.place)).where(self._here)).scalar()
        return 0 if last is None else last + 1

    def make(self, proposal: Proposal, student: str, total: int) -> bool:
        """Whether the candidate is this search's now, as one of at most `total`."""
        text = json.dumps({"params": proposal.params, "attrs": proposal.attrs})
        row = {"study": self._study, "student": student, "search": self._search, "deaths": 0, "done": False}
        while (place := self.places()) < total:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(CLAIMS).values(**row, place=place, proposal=text))
                return True
            except IntegrityError:  # the student, or only the place
                with self._engine.connect() as connection:
                    if connection.execute(select(CLAIMS.c.place).where(self._of(student))).first():
                        return False
        return False

    def take_over(self, claim: Claim) -> bool:
        """Whether the candidate of a search that died, or gave it back, is this one's now."""
        holder = CLAIMS.c.search.is_not_distinct_from(claim.search)
        as_seen = and_(self._of(claim.student), CLAIMS.c.done.is_(False), holder)
        with self._engine.begin() as connection:
            done = connection.execute(
                update(CLAIMS).where(as_seen).values(search=self._search, deaths=claim.deaths_now)
            )
        return done.rowcount == 1

    def holds(self, student: str) -> bool:
        """Whether this search is still the one that is at the candidate."""
        with self._engine.connect() as connection:
            who = connection.execute(select(CLAIMS.c.search, CLAIMS.c.done).where(self._of(student))).first()
        return who is not None and who.search == self._search and not who.done

    def close(self, student: str) -> None:
        """The candidate is finished."""
        with self._engine.begin() as connection:
            connection.execute(update(CLAIMS).where(self._of(student)).values(done=True))

    def give_back(self) -> None:
        """Whatever this search is at may be taken over at once."""
        mine = and_(self._here, CLAIMS.c.search == self._search, CLAIMS.c.done.is_(False))
        with self._engine.begin() as connection:
            connection.execute(update(CLAIMS).where(mine).values(search=None))

    def others(self) -> list[Claim]:
        """The candidates that are neither finished nor this search's."""
        columns = (CLAIMS.c.student, CLAIMS.c.search, CLAIMS.c.deaths)
        rest = and_(self._here, CLAIMS.c.done.is_(False), CLAIMS.c.search.is_distinct_from(self._search))
        with self._engine.connect() as connection:
            return [Claim(*row) for row in connection.execute(select(*columns).where(rest).order_by(CLAIMS.c.place))]

    def proposal(self, student: str) -> Proposal:
        """What was claimed."""
        with self._engine.connect() as connection:
            text = connection.execute(select(CLAIMS.c.proposal).where(self._of(student))).scalar_one()
        return Proposal(**json.loads(text))

    def finding(self, name: str) -> Any:
        """What was found out for all searches of the study; None where nobody has yet."""
        here = and_(FINDINGS.c.study == self._study, FINDINGS.c.name == name)
        with self._engine.connect() as connection:
            found = connection.execute(select(FINDINGS.c.value).where(here)).scalar()
        return None if found is None else json.loads(found)

    def found(self, name: str, value: Any) -> None:
        """Let `value`, JSON-ready, hold for all searches, unless another was faster."""
        row = {"study": self._study, "name": name, "value": json.dumps(value)}
        with suppress(IntegrityError), self._engine.begin() as connection:
            connection.execute(insert(FINDINGS).values(**row))

    def dead(self, grace_s: float) -> set[str]:
        """The searches whose count has stood still for `grace_s` seconds, as far as this one has watched."""
        now = monotonic()
        with self._engine.connect() as connection:
            here = select(SEARCHES.c.search, SEARCHES.c.beats).where(SEARCHES.c.study == self._study)
            counts = {row.search: row.beats for row in connection.execute(here)}
        for search, beats in counts.items():
            if self._beats.get(search, (None, now))[0] != beats:
                self._beats[search] = (beats, now)
        return {search for search in counts if now - self._beats[search][1] > grace_s} - {self._search}

    @property
    def _here(self) -> ColumnElement[bool]:
        return CLAIMS.c.study == self._study

    def _of(self, student: str) -> ColumnElement[bool]:
        return and_(self._here, CLAIMS.c.student == student)
