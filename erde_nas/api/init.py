"""`erde_nas.init`: somebody's images -> a first recipe that fits the time they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from erde_nas.api.catalogue import write_new
from erde_nas.api.inputs import Data, data_section, folder_of, number_of, profiles_of, texts_of
from erde_nas.errors import UserError
from erde_nas.progress.time_left import duration

if TYPE_CHECKING:
    from erde_nas.recipe.recipe import Recipe
    from erde_nas.recipe.suggested import Budget

SMALL = 10_000  # images, below which a fifth of them is kept for validation
MOST_HOURS = 10_000.0


@dataclass(frozen=True)
class Suggestion:
    """The recipe that was written, what the data look like, and what is to be done next. `hours` is what the search
    should take on this machine."""

    recipe: Path
    hours: float
    lines: tuple[str, ...]
    command: str

    def __str__(self) -> str:
        return "\n".join([*self.lines, f"written: {self.recipe}", f"next: {self.command}"])

    __repr__ = __str__


def init(  # noqa: PLR0913 (a keyword for each wish, as in search)
    data: Data,
    to: str | PathLike[str],
    *,
    hours: float = 1.0,
    size: int | None = None,
    profiles: Sequence[str] = ("cpu-1thread", "cpu-1thread-int8"),
    teacher: str | PathLike[str] | None = None,
    target: Mapping[str, float] | Sequence[str] | None = None,
    data_dir: str | PathLike[str] | None = None,
) -> Suggestion:
    """Look at the images, time a few training steps, and write a recipe whose search takes about `hours` here.

    Args:
        data: name of a data set, a folder of images with a sub-folder per class, or an npz file.
        to: the recipe, a new .yaml file.
        hours: for the whole search.
        size: that images of a folder are scaled to; otherwise their own, at most 96 pixels.
        profiles: names or files of hardware profiles.
        teacher: a classifier of your own (.pt2); otherwise one is trained.
        target: a goal for one student, as `compress` takes it.
        data_dir: folder with a named data set's official files.

    Returns:
        What was found and written.

    Raises:
        UserError: for images that cannot be used, or a file that exists.
    """
    from erde_nas.data.dataset import square_shape
    from erde_nas.data.load import load_dataset
    from erde_nas.data.summary import describe_data
    from erde_nas.recipe.goal import parse_goal
    from erde_nas.recipe.images import DatasetSection
    from erde_nas.recipe.suggested import Budget, Facts, budget, recipe_text
    from erde_nas.searching.speed import measured_speed

    number_of("hours", hours, 0.01, MOST_HOURS)
    recipe_file = Path(to)
    if recipe_file.suffix not in (".yaml", ".yml") or recipe_file.exists():
        reason = "exists already" if recipe_file.exists() else "does not end in .yaml"
        raise UserError(f"{recipe_file} {reason}; name a new .yaml file")
    profiles_of(list(profiles))
    checkpoint = "" if teacher is None else str(folder_of(teacher).resolve())
    wanted = [f"{key}={value}" for key, value in target.items()] if isinstance(target, Mapping) else target
    goal = parse_goal(texts_of(wanted)).wanted if wanted else None
    section = _section(data, size)
    folder = None if data_dir is None else folder_of(data_dir)
    dataset = load_dataset(DatasetSection.model_validate(section), folder)
    section |= {"validation": 0.2 if len(dataset.train) + len(dataset.validation) < SMALL else 0.1}
    dataset = load_dataset(DatasetSection.model_validate(section), folder)
    channels, side, _ = square_shape(dataset)
    facts = Facts(recipe_file.stem, section, channels, side, len(dataset.train), tuple(profiles), checkpoint, goal)
    speed = measured_speed(_recipe_of(recipe_text(facts, Budget(1, 2, 6, 1, 4, 1, 0.0))), dataset)
    found = budget(speed, hours)
    text = recipe_text(facts, found)
    _recipe_of(text)  # what cannot be read is not written
    write_new(recipe_file, text)
    where = "" if folder is None else f" --data-dir {folder}"
    command = f"erde-nas search {recipe_file} --out runs/{recipe_file.stem}{where}"
    return Suggestion(recipe_file, found.seconds / 3600, (*describe_data(dataset), _about(found, hours)), command)


def _section(data: Data, size: int | None) -> dict[str, Any]:
    """The keys of the recipe's `dataset` section, but for `validation`; a folder's images get a size."""
    from erde_nas.data.folder import usual_side

    section = data_section(data, size)
    if section["name"] == "folder":
        return {"image_size": usual_side(Path(section["path"])), **section}
    return section


def _recipe_of(text: str) -> "Recipe":
    """The recipe of a text. Raises UserError with all problems."""
    from erde_nas.recipe.recipe import load_recipe

    with TemporaryDirectory(prefix="erde-nas-") as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path)


def _about(found: "Budget", hours: float) -> str:
    """What the recipe plans, in a line."""
    teacher = f"a teacher of {found.teacher_epochs} epochs, " if found.teacher_epochs else ""
    plan = f"{teacher}{found.trials} candidates of {found.brief_epochs}, 3 students of {found.finish_epochs}"
    took = duration(found.seconds)
    if found.seconds > 1.1 * 3600 * hours:
        return f"plan: {plan}: the least that makes sense takes about {took} here, more than {duration(3600 * hours)}"
    return f"plan: {plan}: about {took} on this machine"
