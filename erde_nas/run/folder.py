"""The run folder: what is finished stays, whatever happens next. Trials live in `study.db`, an
Optuna study in SQLite, or in a database that several searches share.

recipe.yaml  profiles/*.yaml  manifest.json  study.db  teacher/  students/<id>/  pareto.json  report.*
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from erde_nas.errors import UserError
from erde_nas.files import is_temporary, sweep_scratch, sweep_temporary, write_atomic
from erde_nas.progress.clock import StageClock
from erde_nas.recipe.profile import HardwareProfile, load_profile
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.run.manifest import SCHEMA, Manifest, differing, is_run, read_manifest, write_manifest
from erde_nas.run.students import FILE as METRICS
from erde_nas.run.students import StudentRecord, read_student, write_student
from erde_nas.run.studies.interface import Study
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Trial

REPORT = ("pareto.json", "pareto.csv", "report.html", "report.md", "front.png")
ASIDE = "set-aside"  # what did not belong to the rest of the run
FREE = {"search": {"trials", "hours", "patience", "rank_check"}}  # what may differ when a run is continued


class RunStore:
    """One run folder. Open it with `open_run`, which locks it."""

    def __init__(self, folder: Path, clock: StageClock | None = None) -> None:
        self.folder = folder
        self._study: Study | None = None
        self._clock = clock or StageClock()
        self._before: dict[str, float] | None = None  # what former starts of the run took, by stage

    def student(self, name: str) -> Path:
        """The folder of one student."""
        return self.folder / "students" / name

    def record(self, name: str) -> StudentRecord | None:
        """What is known of a student; None where nothing is. Raises UserError for a damaged file."""
        return read_student(self.student(name))

    def records(self) -> dict[str, StudentRecord]:
        """What is known of every student, by its name. Raises UserError for a damaged file."""
        names = sorted(path.parent.name for path in (self.folder / "students").glob(f"*/{METRICS}"))
        return {name: record for name in names if (record := self.record(name))}

    def update_student(self, name: str, **values: Any) -> None:
        """Change fields of what is known of a student, or begin with them."""
        known = self.record(name)
        write_student(self.student(name), StudentRecord(**values) if known is None else replace(known, **values))

    def set_aside(self, name: str) -> None:
        """Move a file or folder of the run, such as `students/ID`, to where nothing reads it."""
        place, number = self.folder / ASIDE / name, 2
        while place.exists():
            place, number = self.folder / ASIDE / f"{name}.{number}", number + 1
        place.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).rename(place)

    def manifest(self) -> Manifest:
        """What the run is bound to, and what it found out. Raises UserError for a damaged file."""
        return read_manifest(self.folder)

    def update_manifest(self, **values: Any) -> None:
        """Change fields of the manifest."""
        write_manifest(self.folder, replace(self.manifest(), **values))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time spent inside as part of `stage`, over all continuations, also where it ends with an error.

        Every moment since this start of the run began counts for one stage: see progress/clock.py.
        """
        try:
            with self._clock.at(stage):
                yield
        finally:
            self.record_time()

    def record_time(self) -> None:
        """Write what every stage has taken so far, over all continuations."""
        self.update_manifest(timings_s={stage: round(seconds, 3) for stage, seconds in self._timings().items()})

    def seconds(self) -> float:
        """What the run has taken so far, over all continuations."""
        return float(sum(self._timings().values()))

    def _timings(self) -> dict[str, float]:
        if self._before is None:
            self._before = dict(self.manifest().timings_s)
        now = self._clock.seconds()
        return {stage: self._before.get(stage, 0.0) + now.get(stage, 0.0) for stage in {**self._before, **now}}

    def recipe(self) -> Recipe:
        """The recipe as it was run. Raises UserError where it cannot be read any more."""
        try:
            return load_recipe(self.folder / "recipe.yaml")
        except UserError as error:
            raise UserError(
                f"{error}\nThe run began with this recipe: if a name is unknown now, install again the package that "
                "brought it (`erde-nas doctor` lists what is there)"
            ) from error

    def profiles(self) -> list[HardwareProfile]:
        """The hardware profiles in the order in which they were given."""
        return [load_profile(self.folder / "profiles" / f"{name}.yaml") for name in self.manifest().profiles]

    def open_study(self, objectives: Sequence[str], space: SearchSpace, storage: str | None = None) -> None:
        """Open or create the study: study.db in the folder, or one in the database `storage` that others share.

        A run keeps to the place that it began with. Raises UserError for another one, or one that cannot be opened.
        """
        from erde_nas.run.studies.local import LocalStudy

        file, recorded = self.folder / "study.db", self.manifest().storage
        if storage is None and recorded is None:
            self._study = LocalStudy(file, objectives, space)
            return
        from erde_nas.run.studies.shared import Membership, SharedStudy, public_url

        if storage is not None and file.exists():
            raise UserError(f"{self.folder} keeps its study in study.db; leave --storage away, or use another --out")
        if storage is not None and recorded not in (None, public_url(storage)):
            raise UserError(
                f"{self.folder} keeps its study in {recorded}; give that as --storage, or use another --out"
            )
        manifest = self.manifest()
        search = manifest.search or str(uuid.uuid4())
        of = Membership(manifest.recipe, {**manifest.hashes, **manifest.identity}, search)
        url = str(storage or recorded)
        self._study = SharedStudy(url, of, objectives, space)
        self.update_manifest(storage=public_url(url), search=search)

    def close(self) -> None:
        """Let go of the study."""
        if self._study is not None:
            self._study.close()
            self._study = None

    @property
    def study(self) -> Study:
        """The study, once `open_study` was called."""
        if self._study is None:
            raise RuntimeError("open_study comes first")
        return self._study

    def add(self, trial: Trial) -> None:
        """Store a finished trial whole."""
        self.study.add(trial)

    def trials(self) -> list[Trial]:
        """All stored trials in the order of their completion."""
        return self.study.trials()


@contextmanager
def open_run(
    folder: Path,
    recipe: Recipe,
    profiles: Sequence[HardwareProfile],
    identity: Mapping[str, str],
    clock: StageClock | None = None,
) -> Iterator[RunStore]:
    """Create the run folder, or continue the run that is in it, and hold its lock. `clock` began with this start.

    `identity` is recorded and must not change between continuations (data set, teacher, device). Raises UserError
    where the folder holds anything else, or another process is at work in it.
    """
    _check(folder, recipe, profiles, identity)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not is_run(folder):  # the manifest first: it marks the folder as ours, whatever else is written there
            refuse_strangers(folder, "run")
            names = tuple(profile.name for profile in profiles)
            write_manifest(folder, Manifest(SCHEMA, recipe.name, names, _hashes(recipe, profiles), identity, {}))
        manifest = read_manifest(folder)
        if manifest.identity != identity:  # of an earlier version, which knew less of it
            write_manifest(folder, replace(manifest, identity=identity))
        for profile in profiles:
            _write_yaml(folder / "profiles" / f"{profile.name}.yaml", profile)
        _write_yaml(folder / "recipe.yaml", recipe)  # the number of trials may have grown
        with closing(RunStore(folder, clock)) as store:
            yield store


def discard_empty(
    folder: Path, recipe: Recipe, profiles: Sequence[HardwareProfile], identity: Mapping[str, str]
) -> None:
    """Forget a run that ended before it had a student where it is not this one, so that a corrected recipe or profile
    may take its folder. What failed in this very run stays known.

    A supernet in training is kept. Raises UserError where another process is at work in it.
    """
    if not is_run(folder) or any((folder / name).exists() for name in ("students", "supernet")):
        return
    if not _differing(read_manifest(folder), {**_hashes(recipe, profiles), **identity}):
        return
    with locked(folder):
        ours = [f"profiles/{name}.yaml" for name in read_manifest(folder).profiles]
        shutil.rmtree(folder / "teacher", ignore_errors=True)
        # The manifest last: where this is cut short, the folder still holds a run.
        for name in ("study.db", "study.db-journal", *REPORT, *ours, "recipe.yaml"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # what somebody else put there stays
            (folder / "profiles").rmdir()
        (folder / "manifest.json").unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; the system releases it however the process ends. What killed processes left goes."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    # Not truncated and no link followed: the folder may be a stranger's.
    with os.fdopen(os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another erde-nas is at work in {folder}; wait for it or use another --out") from None
        sweep_temporary(folder)
        sweep_scratch()
        yield


def existing_run(folder: Path, clock: StageClock | None = None) -> RunStore:
    """The run in `folder`. `clock` began with this command. Raises UserError where there is none, or it is damaged."""
    if not is_run(folder):
        raise UserError(
            f"{folder} holds no run (no manifest.json); start one with `erde-nas search RECIPE --out {folder}`"
        )
    read_manifest(folder)
    return RunStore(folder, clock)


def _check(folder: Path, recipe: Recipe, profiles: Sequence[HardwareProfile], identity: Mapping[str, str]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"--out {folder} is a file; give a folder")
    if not is_run(folder):
        refuse_strangers(folder, "run")
        return
    manifest = read_manifest(folder)
    differs = _differing(manifest, {**_hashes(recipe, profiles), **identity})
    if differs:
        raise UserError(
            f"--out {folder} holds another run (recipe '{manifest.recipe}'): {', '.join(differs)} differ; "
            "give another folder, or the same recipe, profiles and options to continue it"
        )


def _differing(manifest: Manifest, wanted: Mapping[str, str]) -> list[str]:
    return differing({**manifest.hashes, **manifest.identity}, wanted)


def check_identity(store: RunStore, identity: Mapping[str, str]) -> None:
    """Raises UserError where a run that goes on would do so with other data, or another teacher, than it began with."""
    differs = differing(store.manifest().identity, {**store.manifest().identity, **identity})
    if differs:
        raise UserError(
            f"{store.folder} began with another {' and another '.join(differs)} than is there now; bring that back, or "
            "search in a new folder"
        )


def refuse_strangers(folder: Path, what: str) -> None:
    """Raises UserError where a folder without our manifest holds anything: that is somebody's, whatever its name.

    `what` should be there. A start that was killed in its first moment leaves a lock and temporary files behind.
    """
    strangers = sorted(name for name in os.listdir(folder) if name != ".lock" and not is_temporary(name))
    if strangers:
        raise UserError(f"--out {folder} is not empty ({strangers[0]}) and holds no {what}; give a new folder")


def _hashes(recipe: Recipe, profiles: Sequence[HardwareProfile]) -> dict[str, str]:
    """A hash per section, so that a difference can be named."""
    sections = recipe.model_dump(mode="json", exclude=FREE)
    values = {
        f"recipe.{key}": value
        for key, value in sections.items()
        if key not in ("description", "profiles", "example_images")
    }
    values["profiles"] = [profile.model_dump(mode="json") for profile in profiles]
    return {
        key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
        for key, value in values.items()
    }


def _write_yaml(path: Path, value: Recipe | HardwareProfile) -> None:
    text = yaml.safe_dump(value.model_dump(mode="json", exclude_none=True), sort_keys=False)
    write_atomic(path, lambda temporary: temporary.write_text(text))
