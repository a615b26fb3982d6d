"""What the library knows of a data set that recipes can name: how it is read, where it is from, and its terms."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from erde_nas.data.official import Source
from erde_nas.data.raw import Raw
from erde_nas.recipe.images import DatasetSection
from erde_nas.registry import DATASETS


@dataclass(frozen=True)
class DatasetKind:
    """A data set: `read` gives its images from a recipe's section and a folder, or None for the usual places.

    `licence` says under which terms it is given, as far as its authors say so; a model card repeats it. `source` is
    what can be fetched; where nothing can, `origin` says where the images are from, and `found` that they are here.
    """

    read: Callable[[DatasetSection, Path | None], Raw]
    licence: str
    source: Source | None = None
    origin: str = ""
    found: str | None = None
    note: str = ""  # citation and licence in one line
    keys: tuple[str, ...] = ()  # of the recipe's dataset section that it takes, of those that not every data set does


def kind_of(name: str) -> DatasetKind:
    """The data set of that name. Raises UserError for an unknown one."""
    return cast(DatasetKind, DATASETS[name])


def official() -> dict[str, Source]:
    """The data sets that can be fetched."""
    kinds = {name: kind_of(name).source for name in DATASETS}
    return {name: source for name, source in kinds.items() if source is not None}


def licence(name: str) -> str:
    """The licence of a data set, or that none is known."""
    return kind_of(name).licence if name in DATASETS else "not stated"
