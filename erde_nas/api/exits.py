"""`erde_nas.exits`: a trained network of the user's own -> the same network with exits, ready to ship."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from erde_nas.api.inputs import Data, Profiles, data_section, folder_of, number_of, profiles_of, recipe_of
from erde_nas.api.progress import Progress, telling
from erde_nas.api.run import Run

EPOCHS, BATCH_SIZE, LEARNING_RATE = 24, 128, 0.1  # of heads
SHIPPED = "shipped"  # where in its folder the bundle is
MOST_MINUTES = 10_000.0


def exits(  # noqa: PLR0913 (a keyword for each wish, for help() and editors; below, most are a recipe)
    model: str | PathLike[str],
    data: Data,
    out: str | PathLike[str],
    *,
    profiles: Profiles = "cpu-1thread",
    max_drop: float = 0.0,
    minutes: float = 4.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    normalisation: str | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    flip: bool = False,
    data_dir: str | PathLike[str] | None = None,
    progress: Progress = False,
) -> Run:
    """Attach early exits to a trained network, which itself stays as it is, measure, and write the folder to ship.

    Args:
        model: a classifier that `torch.export.save` wrote (.pt2).
        data: images like those that it was trained on: a folder, an .npz file, the name of a data set, or the keys of a
            recipe's `dataset`.
        out: a new folder: the run with its report, and in `shipped` the folder to ship.
        profiles: hardware profiles: one or several names, paths, dictionaries or objects; the first one decides.
        max_drop: of accuracy on validation below the network's own, at most; 0.01 is one point.
        minutes: about how long exits are trained, computing what they learn from included.
        mean: with `std` how the network's input was normalised: per channel, of pixels scaled to [0, 1].
        std: see `mean`.
        normalisation: a usual one by name instead: imagenet, cifar10, mnist, half, unit or pixels.
        classes: the names of its outputs in their order, where that is not the data set's.
        image_size: the side that a folder's images are scaled to, or (height, width).
        flip: whether exits learn from mirrored images, too.
        data_dir: folder with the data set's official files.
        progress: False is silent, True shows a meter, a function hears `(share, text)`.

    Returns:
        The run; its `target` says what was shipped, and what it is worth.

    Raises:
        UserError: for a mistake in what was given, and a network that cannot be cut; before anything is trained.
    """
    with telling(progress) as meter:
        number_of("max_drop", max_drop, 0, 1)
        number_of("minutes", minutes, 0.01, MOST_MINUTES)
        loaded, folder = profiles_of(profiles), folder_of(out)
        given = {"mean": mean, "std": std, "normalisation": normalisation, "classes": classes}
        teacher = {key: value if isinstance(value, str) else list(value) for key, value in given.items() if value}
        section = data_section(data, image_size)
        recipe = recipe_of(_recipe(folder_of(model), section, teacher, [p.name for p in loaded], flip))
        from erde_nas import pipeline
        from erde_nas.bundle.measured_student import find_student
        from erde_nas.bundle.write import write_bundle
        from erde_nas.recipe.goal import GoalSection
        from erde_nas.results.own_exits import OWN

        report, outcome = pipeline.exits(
            recipe,
            loaded,
            folder,
            data_dir=None if data_dir is None else folder_of(data_dir),
            meter=meter,
            goal=GoalSection(accuracy_drop=max_drop),
            seconds=60 * minutes,
        )
        student = find_student(folder, outcome.student or OWN, report)
        write_bundle(student, folder / SHIPPED, ("onnx",), default=Path(outcome.file or "").name)
        text = outcome.text.partition("\n")[0] + f"\nThe folder to ship: {folder / SHIPPED}"
    return Run(folder, report, replace(outcome, text=text))


def _recipe(
    model: Path, dataset: dict[str, Any], teacher: dict[str, Any], profiles: list[str], flip: bool
) -> dict[str, Any]:
    """The keys of the run's recipe: what is not searched, finished or pruned has no say in it."""
    train = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
    path = str(model.expanduser().resolve())
    return {
        "name": f"exits of {model.name}",
        "dataset": dataset,
        "views": {"flip": flip, "cached_views": 2},
        "teacher": {"checkpoint": path, **teacher},
        "space": {"own": path},
        "train": train,
        "search": {"check_teacher": False},
        "finish": {"train": train, "cascades": False},
        "compress": {"train": train, "prune": [], "qat_epochs": 0},
        "profiles": profiles,
    }
