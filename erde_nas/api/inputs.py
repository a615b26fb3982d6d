"""What a caller gives for a recipe or profiles -> checked values, with the errors that the command line gives."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from erde_nas.errors import UserError
from erde_nas.files import expanded
from erde_nas.recipe import shipped
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import HardwareProfile, load_profile
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.recipe.search import SearchSection
from erde_nas.recipe.strict_yaml import check_strict
from erde_nas.registry import DATASETS

RecipeLike: TypeAlias = str | PathLike[str] | Mapping[str, Any] | Recipe
"""The name of a shipped recipe, the path of a YAML file, its keys, or the object that is made of them."""
ProfileLike: TypeAlias = str | PathLike[str] | Mapping[str, Any] | HardwareProfile
"""The same for a hardware profile."""
Profiles: TypeAlias = ProfileLike | Sequence[ProfileLike]
"""One or several of them."""
Data: TypeAlias = str | PathLike[str] | Mapping[str, Any]
"""The name of a data set, a folder of images, an .npz file, or the keys of a recipe's `dataset`."""
MOST_SCALE = 1000.0


class AtPoint(Protocol):
    """A student at an operating point."""

    @property
    def file(self) -> Path:
        """Its ONNX file."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of every exit but the last."""

    @property
    def exit_fractions(self) -> tuple[float, ...]:
        """The share of the validation images that leaves at each exit."""


def recipe_of(recipe: RecipeLike) -> Recipe:
    """The recipe of that name or path, or of these keys. Raises UserError that lists every problem."""
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return check_strict(recipe, Recipe, "recipe")
    if not isinstance(recipe, str | PathLike):
        raise UserError(f"a recipe must be a name, path, dictionary or Recipe, but got {_kind(recipe)}")
    return load_recipe(shipped.find("search", str(recipe)))


def profiles_of(profiles: Profiles) -> tuple[HardwareProfile, ...]:
    """One or several profiles. Raises UserError that lists every problem, and for two of one name."""
    several = [profiles] if isinstance(profiles, str | PathLike | Mapping | HardwareProfile) else profiles
    if not isinstance(several, Iterable) or not (several := list(several)):
        raise UserError(f"profiles must be at least one name, path, dictionary or HardwareProfile, but got {profiles}")
    loaded = tuple(map(_profile, several))
    names = [profile.name for profile in loaded]
    if len(set(names)) < len(names):
        raise UserError(f"two hardware profiles have the same name: {', '.join(names)}; rename one")
    return loaded


def _profile(profile: ProfileLike) -> HardwareProfile:
    if isinstance(profile, HardwareProfile):
        return profile
    if isinstance(profile, Mapping):
        return check_strict(profile, HardwareProfile, "profile")
    return load_profile(shipped.find("profiles", str(profile)))


def changed(
    recipe: Recipe,
    *,
    trials: int | None = None,
    hours: float | None = None,
    seed: int | None = None,
    epochs_scale: float | None = None,
) -> Recipe:
    """The recipe with what a call says instead. `hours` alone: as many candidates as fit. Raises UserError."""
    wanted = {"trials": trials, "hours": hours, "seed": seed}
    update: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if hours is not None:
        update["trials"] = trials
    if update:
        section = recipe.search.model_dump(mode="json") | update
        recipe = recipe.model_copy(update={"search": check_strict(section, SearchSection, "search")})
    return recipe if epochs_scale is None else _scaled(recipe, epochs_scale)


def _scaled(recipe: Recipe, factor: float) -> Recipe:
    """With every number of epochs times `factor`."""
    if not isinstance(factor, int | float) or not 0 < factor <= MOST_SCALE:
        raise UserError(f"epochs_scale must be a factor above 0 and at most {MOST_SCALE:g}, but got {factor}")

    def scaled(train: OptimizerSection) -> OptimizerSection:
        return train.lasting(max(1, round(train.epochs * factor)))

    parts = {
        name: getattr(recipe, name).model_copy(update={"train": scaled(getattr(recipe, name).train)})
        for name in ("teacher", "supernet", "finish", "compress")
    }
    return recipe.model_copy(update={**parts, "train": scaled(recipe.train)})


def folder_of(folder: str | PathLike[str]) -> Path:
    """A folder or file that a caller names. Raises UserError for what is no path."""
    if not isinstance(folder, str | PathLike):
        raise UserError(f"a folder or file must be a text or a Path, but got {_kind(folder)}")
    return expanded(folder)


def data_section(data: Data, image_size: int | tuple[int, int] | None = None) -> dict[str, Any]:
    """The keys of a recipe's `dataset`. Raises UserError for what is neither a data set, a folder nor a file."""
    size = {} if image_size is None else {"image_size": image_size}
    if isinstance(data, Mapping):
        return {**data, **size}
    named = [name for name in DATASETS if "path" not in DATASETS[name].keys]
    if isinstance(data, str) and data in named:
        return {"name": data, **size}
    path = folder_of(data)
    if path.is_dir():
        return {"name": "folder", "path": str(path.resolve()), **size}
    if path.is_file():
        return {"name": "npz", "path": str(path.resolve()), **size}
    raise UserError(f"{data} is no folder of images, no .npz file, and none of the data sets {', '.join(named)}")


def model_of(model: str | PathLike[str] | AtPoint) -> AtPoint | Path:
    """A student as it is, or the path of a file. Raises UserError for what is neither, such as a run."""
    if isinstance(model, str | PathLike):
        return folder_of(model)
    if hasattr(model, "file") and hasattr(model, "thresholds"):
        return model
    raise UserError(f"a model must be a student, such as run.best(), or the path of a file, but got {_kind(model)}")


def number_of(name: str, value: float, least: float, most: float, whole: bool = False) -> float:
    """A number from `least` to `most`. Raises UserError for anything else."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind, range_ = "a whole number" if whole else "a number", f"from {least:g} to {most:g}"
        raise UserError(f"{name} must be {kind} {range_}, but got {value!r}")
    return value


def texts_of(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Several texts; a text by itself is one, and None is none."""
    if texts is None or isinstance(texts, str):
        return () if texts is None else (texts,)
    several = tuple(texts) if isinstance(texts, Iterable) else (texts,)
    if not all(isinstance(text, str) for text in several):
        raise UserError(f"one or several texts are wanted, but got {texts!r}")
    return several


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
