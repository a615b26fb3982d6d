"""The study of one search: `study.db` in its run folder, which its lock keeps others out of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DatabaseError

from erde_nas.errors import UserError
from erde_nas.files import problem
from erde_nas.run.studies.records import distributions, freeze, name_objectives, thaw
from erde_nas.run.studies.whole import WholeTrialStorage
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Proposal, Trial

STUDY = "erde-nas"


class LocalStudy:
    """See `interface.Study`. Only finished trials are stored; what was being evaluated when a search ended is asked
    for again by the next one's searcher."""

    def __init__(self, file: Path, objectives: Sequence[str], space: SearchSpace) -> None:
        """Open or create the study. Raises UserError for a damaged file."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._file, self._choices = file, distributions(space)
        self._all: list[Trial] | None = None  # as they were read; a search at work keeps none of them
        with self._reading(), self._writing():
            self._storage = WholeTrialStorage(f"sqlite:///{file}")
            study = optuna.create_study(
                storage=self._storage,
                study_name=STUDY,
                directions=["minimize"] * len(objectives),
                load_if_exists=True,
            )
            if len(study.directions) != len(objectives):
                raise ValueError(f"its study has {len(study.directions)} objectives instead of {len(objectives)}")
            name_objectives(study, objectives)
            self._id = self._storage.get_study_id_from_name(STUDY)
            self._news = self.trials()
        self._finished, self._claimed = len(self._news), 0

    def trials(self) -> list[Trial]:
        """See `Study.trials`."""
        if self._all is None:
            with self._reading():
                finished = [trial for trial in self._storage.stored(self._id) if trial.state.is_finished()]
            self._all = [thaw(frozen, number) for number, frozen in enumerate(finished)]
        return list(self._all)

    def news(self) -> list[Trial]:
        """See `Study.news`."""
        news, self._news = self._news, []
        return news

    def lost(self) -> list[Proposal]:
        """See `Study.lost`: there is nobody else."""
        return []

    def claim(self, proposal: Proposal, student: str, total: int) -> bool:
        """See `Study.claim`."""
        self._claimed += 1
        return True

    def add(self, trial: Trial) -> None:
        """See `Study.add`; in one transaction."""
        with self._writing():
            self._storage.create_new_trial(self._id, freeze(trial, self._choices))
        self._all = None
        self._news.append(replace(trial, number=self._finished))
        self._finished += 1
        self._claimed = max(0, self._claimed - 1)

    def open_places(self, total: int) -> int:
        """See `Study.open_places`."""
        return total - self._finished - self._claimed

    def elsewhere(self) -> int:
        """See `Study.elsewhere`."""
        return 0

    def agree(self, name: str, find_out: Callable[[], Any]) -> Any:
        """See `Study.agree`: there is nobody else."""
        return find_out()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """See `Study.at_work`."""
        try:
            yield
        finally:
            self._claimed = 0

    def close(self) -> None:
        """See `Study.close`: Optuna's own connections end with the object."""

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what Optuna raises where a cell of its tables holds what does not belong there into a UserError."""
        try:
            yield
        except (UserError, StorageInternalError, DatabaseError):
            raise
        except Exception as error:  # of SQLAlchemy's types, of Optuna's enumerations, of JSON
            raise UserError(
                f"{self._file} is damaged: {problem(error) or type(error).__name__}; restore the study, or search in a "
                "new folder"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what SQLite says of a full disk, a damaged file or missing rights into a UserError."""
        try:
            yield
        except (StorageInternalError, DatabaseError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"{self._file}: {reason}; free space or restore the file, then run again") from error
