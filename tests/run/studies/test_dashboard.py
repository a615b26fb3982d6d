"""What Optuna itself, and so its dashboard, reads in a study: names, params, intermediate values, times."""

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from erde_nas.run.studies.local import STUDY, LocalStudy
from erde_nas.run.studies.shared import Membership, SharedStudy
from erde_nas.space.trial import Proposal, Trial
from tests.space.builders import findings, judged

NAMES = ("error", "latency_ms:fast")


class Toy:
    """The space of these trials."""

    parameters = {"width": (8, 16, 24), "k": ("a", "b")}  # noqa: RUF012

    def identify(self, params: dict[str, object]) -> str:
        return f"s{params['width']}"


PARAMS: dict[str, str | int | float] = {"width": 16, "k": "b"}
DONE = Trial(0, "s16", PARAMS, "complete", (0.2, 3.5), findings=findings(judged()), attrs={"generation": 1})
FAILED = Trial(1, "s24", {"width": 24, "k": "a"}, "failed", reason="the worker died")


def opened(file: Path, shared: bool) -> LocalStudy | SharedStudy:
    of = Membership(STUDY, {"recipe": "1"}, "me")
    return SharedStudy(f"sqlite:///{file}", of, NAMES, Toy()) if shared else LocalStudy(file, NAMES, Toy())


def written(file: Path) -> optuna.Study:
    return optuna.load_study(study_name=STUDY, storage=f"sqlite:///{file}")


@pytest.mark.parametrize("shared", [False, True])
def test_optuna_reads_names_params_and_accuracy_by_exit(tmp_path: Path, shared: bool) -> None:
    file = tmp_path / "study.db"
    with closing(opened(file, shared)) as study:
        for trial in (DONE, FAILED):
            assert study.claim(Proposal(trial.params, trial.attrs), trial.student, 9)
            study.add(trial)
        assert study.trials() == [DONE, FAILED]
    found = written(file)
    assert found.metric_names == list(NAMES)
    done, failed = found.trials
    assert (done.params, done.values) == (PARAMS, [0.2, 3.5])
    assert done.intermediate_values == {0: 1 / 3, 1: 0.8}, "the accuracy of leaving at each exit"
    assert done.datetime_start is not None
    assert done.datetime_complete is not None
    assert (done.datetime_complete - done.datetime_start).total_seconds() == pytest.approx(1.339)
    assert (failed.state.name, failed.intermediate_values) == ("FAIL", {})


def test_a_study_of_before_gets_names_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with closing(LocalStudy(file, NAMES, Toy())) as study:
        study.add(DONE)
    with closing(sqlite3.connect(file)) as database:  # as a study was before
        database.execute("DELETE FROM study_system_attributes")
        database.execute("DELETE FROM trial_intermediate_values")
        database.commit()
    old = written(file)
    assert (old.metric_names, old.trials[0].intermediate_values) == (None, {})
    with closing(LocalStudy(file, NAMES, Toy())) as study:
        assert study.trials() == [DONE]
        study.add(FAILED)
    assert written(file).metric_names == list(NAMES)
