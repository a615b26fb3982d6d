"""The report of a run that is not finished: it is at work, or it was ended before it could write one.

Nothing is measured for it and nothing in the run folder changes, so that a search may be looked at while it runs.
"""

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from erde_nas.device.bundle_runner import sides
from erde_nas.device.exit_rules import exit_rule
from erde_nas.errors import UserError
from erde_nas.networks.own.base import saved_base
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.report_data.report import SCHEMA, DatasetFacts, Environment, ExitRuleFacts, ProfileFacts, Report
from erde_nas.results.build_report import (
    parents_of,
    searched_and_finished,
    searched_front,
    searched_point,
    searched_trial,
    teacher_check,
)
from erde_nas.results.evidence import curves_of, students_of
from erde_nas.results.measured_file import read_measured
from erde_nas.results.offers import estimated_fronts, offer
from erde_nas.run.folder import RunStore, existing_run
from erde_nas.run.studies.local import LocalStudy
from erde_nas.searching.objectives import objective_names
from erde_nas.space.own_space import OwnSpace
from erde_nas.space.space import Space
from erde_nas.space.trial import Trial


def report_so_far(folder: Path) -> Report:
    """What the run in `folder` has found. While nothing is measured, candidates that no other dominates by validation
    accuracy and estimated costs are its estimated fronts.

    Raises UserError for a folder without a run, and for a run without a candidate yet.
    """
    with closing(existing_run(folder)) as store:
        recipe, profiles, manifest = store.recipe(), tuple(store.profiles()), store.manifest()
        trials, measured = _trials(store, recipe, profiles), read_measured(store)
        if not trials and not measured.points:
            raise UserError(
                f"{folder} holds a run that has no candidate yet; look again later, or continue it with "
                f"`erde-nas search RECIPE --out {folder}`"
            )
        points, fronts = offer(measured.points, profiles, parents_of(store, measured.students))
        known = {point.student for point in points}
        found = [searched_point(trial, profiles, "not finished yet") for trial in searched_front(trials)]
        searched = [point for point in found if point.student not in known]
        estimated = {} if points else estimated_fronts(searched, profiles)
        rule = exit_rule(recipe.exit_rule)
        return Report(
            schema=SCHEMA,
            objectives=tuple(objective_names(recipe.search, profiles)),
            dataset=_dataset(manifest.data or {}),
            teacher=measured.teacher,
            baselines=measured.baselines,
            points=(*points, *searched),
            hypervolume={},
            recipe=recipe.name,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            exit_rule=ExitRuleFacts(rule.name, rule.text, rule.unit),
            profiles={profile.name: ProfileFacts(**profile.model_dump(mode="json")) for profile in profiles},
            fronts={name: tuple(front) for name, front in fronts.items()},
            estimated_fronts={name: tuple(front) for name, front in estimated.items()},
            searched=tuple(map(searched_trial, trials)),
            rank_correlation=searched_and_finished(recipe.search.evaluator, trials, measured.points),
            teacher_check=teacher_check(store),
            own_teacher=manifest.own_teacher,
            environment=Environment(timings_s=dict(manifest.timings_s)),
            unmeasured=measured.unmeasured,
            left_out=measured.left_out,
            screened=measured.screened,
            curves=curves_of(folder, points),
            students=students_of(store),
            unfinished=True,
        )


def _trials(store: RunStore, recipe: Recipe, profiles: Sequence[HardwareProfile]) -> list[Trial]:
    """The finished candidates, from a copy of the study: another process may be writing it."""
    file, data = store.folder / "study.db", store.manifest().data
    if not file.is_file() or data is None:
        return []
    facts: Any = data
    shape, own = (facts["channels"], *sides(facts["image_size"])), saved_base(store.folder)
    space = Space(recipe.space, shape, len(facts["classes"])) if own is None else OwnSpace(recipe.space, own)
    with tempfile.TemporaryDirectory(prefix="erde-nas-") as scratch:
        copied = Path(scratch) / file.name
        try:
            address = f"{file.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(copied)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise UserError(f"{file} cannot be read: {error}; look again later, or restore the file") from error
        study = LocalStudy(copied, objective_names(recipe.search, tuple(profiles)), space)
        with closing(study):
            return study.trials()


def _dataset(data: Any) -> DatasetFacts:
    """What the manifest says of the data set."""
    size = data.get("image_size")
    return DatasetFacts(
        name=data.get("name", ""),
        classes=tuple(data.get("classes", ())),
        train=data.get("train", 0),
        validation=data.get("validation", 0),
        test=data.get("test", 0),
        image_shape=(data["channels"], *sides(size)) if size else (),
        images_per_class={part: tuple(counts) for part, counts in data.get("images_per_class", {}).items()},
        remarks=tuple(data.get("remarks", ())),
    )
