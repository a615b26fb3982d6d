"""A study that several searches share: nothing twice, nothing lost, and no candidate more than wanted."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import optuna
import pytest

from erde_nas.errors import UserError
from erde_nas.run.studies import shared
from erde_nas.run.studies.shared import Membership, SharedStudy, check_storage
from erde_nas.space.trial import Proposal, Trial
from tests.space.builders import findings, judged

PARTS = {"recipe.train": "abc", "dataset": "pixels"}


class Widths:
    """The space of these trials."""

    parameters = {"width": tuple(range(60)), "k": ("a", "b")}  # noqa: RUF012

    def identify(self, params: Any) -> str:
        return f"student{params['width']}"


def proposal(width: int) -> Proposal:
    return Proposal({"width": width, "k": "a"}, {"generation": width})


def trial(width: int, **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "state": "complete", "objectives": (1 / (width + 3), float(width)), "constraints": (-0.5,),
        "findings": findings(judged([i / 700 for i in range(500)])), "attrs": {"generation": width},
    }  # fmt: skip
    return Trial(0, f"student{width}", proposal(width).params, **{**values, **changes})


@contextmanager
def opened(url: str, search: str, study: str = "toy", parts: dict[str, str] = PARTS) -> Iterator[SharedStudy]:
    with closing(SharedStudy(url, Membership(study, parts, search), ("error", "macs"), Widths())) as found:
        yield found


def claim(study: SharedStudy, width: int, total: int = 99) -> bool:
    return study.claim(proposal(width), f"student{width}", total)


@pytest.fixture(autouse=True)
def _reads_always(monkeypatch) -> None:
    monkeypatch.setattr(shared, "READ_S", 0.0)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """`clock[0]` is the time by which searches judge each other."""
    now = [0.0]
    monkeypatch.setattr("erde_nas.run.studies.claims.monotonic", lambda: now[0])
    return now


def test_two_searches_learn_from_each_other_and_do_nothing_twice(storage):
    with opened(storage, "a") as a, opened(storage, "b") as b:
        assert a.news() == b.news() == []
        assert claim(a, 1)
        assert not claim(b, 1)
        assert claim(b, 2)
        assert (a.open_places(5), b.open_places(5)) == (3, 3)
        assert b.news() == []
        assert b.elsewhere() == 1
        a.add(trial(1))
        failed = trial(2, state="failed", objectives=(), constraints=(), findings=None, reason="nan")
        b.add(failed)
        expected = [trial(1), replace(failed, number=1)]
        assert a.trials() == b.trials() == a.news() == expected
        assert [t.student for t in b.news()] == ["student2", "student1"], "its own is known first"
        assert a.news() == b.news() == a.lost() == []
        assert a.elsewhere() == b.elsewhere() == 0
        assert not claim(b, 1), "a finished candidate is nobody's any more"
    with opened(storage, "c") as c:
        assert c.news() == expected


def test_optuna_sees_the_params_and_objectives_of_a_trial(storage):
    with opened(storage, "a") as a:
        for found in (trial(3), trial(5, state="failed", objectives=(), reason="nan")):
            assert claim(a, found.params["width"])
            a.add(found)
        assert a.trials() == [trial(3), replace(trial(5), number=1, state="failed", objectives=(), reason="nan")]
    url = storage.replace("postgresql:", "postgresql+psycopg:")
    backend = optuna.storages.RDBStorage(url)
    try:
        one, other = optuna.load_study(study_name="toy", storage=backend).trials
        assert (one.params, one.values) == (proposal(3).params, list(trial(3).objectives))
        assert (other.params, other.values) == (proposal(5).params, None)
        assert one.distributions["width"] == optuna.distributions.CategoricalDistribution(tuple(range(60)))
    finally:
        backend.remove_session()
        backend.engine.dispose()


def test_the_number_of_candidates_is_kept_by_all_together(storage):
    """Searches at once claim the same candidates in another order each: nothing twice, and as many as wanted."""
    total, searches, mine, errors = 12, 4, {}, []

    def search(number: int) -> None:
        try:
            with opened(storage, f"search {number}") as study:
                mine[number] = [w for w in range(20) if claim(study, (w * 7 + number * 5) % 20, total)]
                mine[number] = [(w * 7 + number * 5) % 20 for w in mine[number]]
                for width in mine[number]:
                    study.add(trial(width))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(searches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    claimed = Counter(width for widths in mine.values() for width in widths)
    assert len(claimed) == total
    assert set(claimed.values()) == {1}
    with opened(storage, "reader") as reader:
        assert sorted(t.student for t in reader.trials()) == sorted(f"student{width}" for width in claimed)
        assert reader.open_places(total) == 0
        assert not claim(reader, 50, total)


def test_a_dead_searchs_candidate_is_tried_once_more(storage, clock):
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(opened(storage, name)) for name in "abc")
        assert claim(a, 1)
        for study in (b, c):
            study.news()
            assert study.lost() == []
        clock[0] = shared.GRACE_S - 1
        a._claims.beat()
        assert b.lost() == c.lost() == []
        clock[0] += shared.GRACE_S - 1
        assert b.lost() == c.lost() == [], "it has counted meanwhile"
        clock[0] += 2
        assert b.lost() == c.lost() == [proposal(1)]
        assert b.claim(proposal(1), "student1", 1)
        assert not c.claim(proposal(1), "student1", 1), "another was faster"
        a.add(trial(1))
        assert a.trials() == [], "a was taken for dead"
        b._claims.beat()
        c.news()
        assert c.lost() == []
        clock[0] += shared.GRACE_S + 1
        assert c.lost() == []
        (failed,) = c.news()
        assert (failed.student, failed.state, failed.params) == ("student1", "failed", {"width": 1, "k": "a"})
        assert failed.reason == "the searches that evaluated it died, 2 times"
        assert c.elsewhere() == 0
        b.add(trial(1))
        assert [t.state for t in b.trials()] == ["failed"], "counted once"


def test_what_a_search_gives_back_is_tried_at_once_and_is_no_death(storage):
    with opened(storage, "a") as a, opened(storage, "b") as b:
        for _ in range(3):
            with a.at_work():
                a.news()
                for lost in a.lost() or [proposal(4)]:
                    assert a.claim(lost, "student4", 1)
            b.news()
            assert b.lost() == [proposal(4)]
            assert b.elsewhere() == 1
        assert b.claim(proposal(4), "student4", 1)
        b.add(trial(4))
        assert b.news() == [trial(4)]
        assert b.elsewhere() == 0


def test_a_search_that_was_killed_knows_what_it_left(storage):
    with opened(storage, "a") as a:
        assert claim(a, 1)
        assert claim(a, 2)
        a._study.add_trial(shared.freeze(trial(2), a._choices, pack=True))  # killed before it closed the claim
    with opened(storage, "a") as again:
        assert [t.student for t in again.news()] == ["student2"]
        assert again.lost() == [proposal(1)]
        assert again.claim(proposal(1), "student1", 2)
        again.news()
        assert again.elsewhere() == 0
    with opened(storage, "a") as again:
        again.news()
        assert again.lost() == [], "it has cost two searches"
        assert {t.student: t.state for t in again.trials()} == {"student1": "failed", "student2": "complete"}


def test_others_are_looked_at_now_and_then_and_own_trials_known_at_once(storage, monkeypatch):
    monkeypatch.setattr(shared, "READ_S", 1000.0)
    with opened(storage, "a") as a, opened(storage, "b") as b:
        assert a.news() == b.news() == []
        for study, width in ((a, 1), (b, 2)):
            assert claim(study, width)
            study.add(trial(width))
        assert [t.student for t in a.news()] == ["student1"]
        assert [t.student for t in a.trials()] == ["student1", "student2"]
        monkeypatch.setattr(shared, "READ_S", 0.0)
        assert [t.student for t in a.news()] == ["student2"]


def test_what_the_first_search_found_out_holds_for_all(storage):
    with opened(storage, "a") as a, opened(storage, "b") as b, opened(storage, "c", study="another") as c:
        assert a.agree("teacher", lambda: {"teacher": 0.5, "student": None}) == {"teacher": 0.5, "student": None}
        assert b.agree("teacher", pytest.fail) == {"teacher": 0.5, "student": None}
        assert b.agree("something else", lambda: 2) == 2
        assert c.agree("teacher", lambda: 3) == 3

        def meanwhile() -> str:
            assert a.agree("at once", lambda: "a") == "a"
            return "b"

        assert b.agree("at once", meanwhile) == "a"


def test_a_heart_beats_while_at_work(storage, monkeypatch):
    monkeypatch.setattr(shared, "HEARTBEAT_S", 0.01)
    beaten = threading.Event()
    with opened(storage, "a") as a:
        monkeypatch.setattr(a._claims, "beat", beaten.set)
        with a.at_work():
            assert beaten.wait(60)


def test_another_study_of_the_same_name_is_refused(storage):
    with opened(storage, "a"):
        pass
    with opened(storage, "a", study="another name", parts={"recipe.train": "x"}):
        pass
    with pytest.raises(UserError) as caught, opened(storage, "b", parts={**PARTS, "recipe.train": "x", "new": "y"}):
        pass
    assert "holds another study named 'toy': new, recipe.train differ; give the recipe another name" in str(
        caught.value
    )
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.db", "--storage study.db is no database URL; give one like postgresql://user@host/database"),
        ("oracel://host/x", "--storage oracel://host/x: 'oracel' is no kind of database that is known"),
        ("sqlite:////nowhere/at/all.db", "--storage sqlite:////nowhere/at/all.db cannot be opened: unable to open"),
        (
            "postgresql://erde:secret@127.0.0.1:9/x",
            r"--storage postgresql://erde@127.0.0.1:9/x cannot be opened: connec",
        ),
        ("mssql+pymssql://u:secret@h/d", "--storage mssql+pymssql://u@h/d needs the Python package 'pymssql': pip"),
    ],
)
def test_what_cannot_be_opened(url, message):
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg")
    with pytest.raises(UserError) as caught:
        check_storage(url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_and_a_missing_database(postgres):
    for url, reason in (
        (postgres.replace("sesame", "barley"), "password authentication failed for user"),
        (postgres, 'database "none" does not exist'),
    ):
        with pytest.raises(UserError) as caught:
            check_storage(f"{url}/none")
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "barley" not in str(caught.value)


def test_the_postgresql_driver_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(UserError, match=r"needs the Python package 'psycopg': pip install 'erde-nas\[postgresql\]'"):
        check_storage("postgresql://erde@127.0.0.1/x")
