"""`erde_nas.train`: one student trained with several losses from several seeds, and what came of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from erde_nas.api.inputs import RecipeLike, changed, folder_of, number_of, recipe_of, texts_of
from erde_nas.api.progress import Progress, telling
from erde_nas.api.tables import Records, table_html
from erde_nas.errors import UserError
from erde_nas.recipe.preset import Expanded, expand, expanded
from erde_nas.recipe.recipe import Recipe

EVERYDAY = ("kd+entropy", "erde", "kd", "ce")  # losses that are compared where none is named
SHOWN = ("area", "accuracy.")  # measures that a table shows


@dataclass(frozen=True)
class SeedResult:
    """One training. `measures` are those of distil.csv, on test: `area` is the mean accuracy over budgets of MACs,
    `accuracy.I`, `ece.I` and `auroc.I` belong to exit I, counted from 1."""

    loss: str
    seed: int
    measures: dict[str, float]

    def cells(self) -> dict[str, str]:
        """What a table shows of it, by column; accuracies in per cent."""
        shown = {name: f"{100 * value:.1f}" for name, value in self.measures.items() if name.startswith(SHOWN)}
        return {"loss": self.loss, "seed": str(self.seed)} | shown


class Comparison(Records[SeedResult]):
    """The trained students of a comparison: a record per loss and seed. `summary` is that of distil.json, with means,
    95 % intervals and paired differences from the first loss."""

    folder: Path
    summary: dict[str, Any]

    def __str__(self) -> str:
        from erde_nas.comparison.tables import headline

        return "\n\n".join(headline(self.summary))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_html(self)


def train(  # noqa: PLR0913 (a keyword for each wish, for help() and editors)
    recipe: RecipeLike,
    out: str | PathLike[str],
    *,
    losses: Sequence[str] | None = None,
    seeds: int = 3,
    student: str | None = None,
    epochs_scale: float | None = None,
    device: str = "auto",
    data_dir: str | PathLike[str] | None = None,
    progress: Progress = False,
) -> Comparison:
    """Train one student with several losses from several seeds, and compare them; the same call continues.

    Args:
        recipe: name, path, dictionary or object; or the folder of a run, whose own recipe and data are taken.
        out: the comparison's folder.
        losses: NAME, or NAME:KEY=VALUE,... with keys of the recipe's `distil` section; the first is the reference.
            None: kd+entropy, erde, kd and ce, or the recipe's own with its preset.
        seeds: trainings per loss, from different seeds.
        student: id of a candidate of the run, instead of the recipe's student.
        epochs_scale: multiplies every number of epochs, for a trial run.
        device: where students are trained: auto, cpu or cuda.
        data_dir: folder with the data set's official files.
        progress: False is silent, True shows a meter, a function hears `(share, text)`.

    Returns:
        A record per loss and seed; as text the means over seeds, with intervals and paired differences.

    Raises:
        UserError: for a mistake in what was given, and where every training failed.
        KeyboardInterrupt: on Ctrl+C; what is finished is reported in `out` and kept.
    """
    number_of("seeds", seeds, 1, 1000, whole=True)
    run = Path(recipe) if isinstance(recipe, str | PathLike) and Path(recipe).is_dir() else None
    if run is None and student is not None:
        raise UserError(f"--student {student} needs the folder of a run in place of the recipe '{recipe}'")
    found = recipe_of(recipe if run is None else run / "recipe.yaml")
    plans = _plans(found, losses, epochs_scale)
    chosen = changed(expanded(found), epochs_scale=epochs_scale)
    folder = folder_of(out)
    with telling(progress) as meter:
        from erde_nas.comparison import compare
        from erde_nas.comparison.train_runs import ComparisonPlan

        summary = compare.run(
            ComparisonPlan(chosen, plans, seeds, folder),
            student=student,
            run=run,
            device=device,
            data_dir=None if data_dir is None else folder_of(data_dir),
            meter=meter,
        )
    comparison = Comparison(_students(summary))
    comparison.folder, comparison.summary = folder, summary
    return comparison


def _plans(recipe: Recipe, losses: Sequence[str] | None, epochs_scale: float | None) -> dict[str, Expanded]:
    """Every loss with its settings and training."""
    from erde_nas.comparison.loss_names import parse_loss

    names = texts_of(losses) or (EVERYDAY if recipe.distil.preset is None else [recipe.distil.loss])
    plans = {text: expand(recipe, parse_loss(text, recipe.distil)) for text in names}
    return plans if epochs_scale is None else {text: plan.scaled(epochs_scale) for text, plan in plans.items()}


def _students(summary: dict[str, Any]) -> Iterator[SeedResult]:
    for entry in summary["losses"]:
        for index, seed in enumerate(entry["seeds"]):
            measures = {name: float(found["values"][index]) for name, found in entry["measures"].items()}
            yield SeedResult(entry["loss"], seed, measures)
