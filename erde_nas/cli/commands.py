"""What the command line calls. Heavy libraries are imported inside, so that `erde-nas --help` stays quick."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from erde_nas.errors import DataMissing, UserError
from erde_nas.files import write_atomic
from erde_nas.front.report_file import read_report
from erde_nas.recipe import shipped as resources

EVERYDAY = ("kd+entropy", "erde", "kd", "ce")  # losses that are compared where none is named


def search(
    recipe: str,
    out: Path,
    *,
    profiles: Sequence[str] | None,
    trials: int | None,
    hours: float | None,
    seed: int | None,
    epochs_scale: float | None,
    device: str,
    data_dir: Path | None,
    workers: int | None,
    cluster: str | None,
    storage: str | None,
) -> dict[str, Any]:
    """Run or continue a search; returns the report model."""
    from erde_nas.progress.meter import Meter

    with Meter() as meter:  # first, so that its clock counts what loading the libraries takes
        from erde_nas.recipe.profile import load_profile
        from erde_nas.recipe.recipe import load_recipe

        found = load_recipe(resources.find("search", recipe))
        if found.distil.preset is not None:
            raise UserError(
                "distil.preset belongs to one named student, but a search has many; use `erde-nas distil`, or write "
                "the values themselves"
            )
        if found.dataset.validation == 0:
            raise UserError(
                "dataset.validation: 0 keeps no image back, but a search chooses by them; write a share, say 0.1"
            )
        chosen = adjust(found, trials=trials, seed=seed, epochs_scale=epochs_scale)
        if hours is not None:
            chosen = within_hours(chosen, hours, trials)
        loaded = tuple(load_profile(resources.find("profiles", name)) for name in profiles or chosen.profiles)
        names = [profile.name for profile in loaded]
        if len(set(names)) < len(names):
            raise UserError(f"two hardware profiles have the same name: {', '.join(names)}; rename one")
        from erde_nas import pipeline
        from erde_nas.searching.workers.placement import Placement

        return pipeline.search(
            chosen,
            loaded,
            out,
            device=device,
            data_dir=data_dir,
            meter=meter,
            placement=Placement(workers, cluster),
            storage=storage,
        )


def within_hours(recipe: Any, hours: float, trials: int | None) -> Any:
    """The recipe with so many hours for the whole run, and no number of candidates but the command line's."""
    update = {"hours": hours, "trials": trials}
    return recipe.model_copy(update={"search": recipe.search.model_copy(update=update)})


def adjust(recipe: Any, *, trials: int | None, seed: int | None, epochs_scale: float | None) -> Any:
    """The recipe with the command line's wishes."""
    section = recipe.search
    update = {key: value for key, value in (("trials", trials), ("seed", seed)) if value is not None}
    recipe = recipe.model_copy(update={"search": section.model_copy(update=update)})
    if epochs_scale is None:
        return recipe

    def scaled(train: Any) -> Any:
        return train.lasting(max(1, round(train.epochs * epochs_scale)))

    parts = {
        name: getattr(recipe, name).model_copy(update={"train": scaled(getattr(recipe, name).train)})
        for name in ("teacher", "supernet", "finish", "compress")
    }
    return recipe.model_copy(update={**parts, "train": scaled(recipe.train)})


def report(out: Path) -> dict[str, Any]:
    """The report model of a run, after writing its report files again."""
    from erde_nas.report.build import write_report

    found = _read_report(out)
    write_report(out, found)
    return found


def _read_report(out: Path) -> dict[str, Any]:
    if not (out / "pareto.json").is_file():
        begun = (out / "manifest.json").is_file()
        known = "holds a run without a report yet; continue it" if begun else "holds no run; start one"
        raise UserError(f"{out} {known} with `erde-nas search RECIPE --out {out}`")
    return read_report(out)


def compress(
    out: Path, students: Sequence[str], *, targets: Sequence[str], profile: str | None, device: str
) -> dict[str, Any]:
    """Prune, quantize and measure again, towards a goal where there are targets; returns the report model."""
    from erde_nas.recipe.goal import parse_goal

    if profile is not None and not targets:
        raise UserError(f"--profile {profile} says what --target is about; give one, such as --target speedup=10")
    goal = parse_goal(targets) if targets else None

    from erde_nas.progress.meter import Meter

    with Meter() as meter:
        from erde_nas import pipeline

        return pipeline.compress(out, students, device=device, meter=meter, goal=goal, profile=profile)


def export(out: Path, student: str, to: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Write the bundle of a student to the new folder `to`; returns its files."""
    found = _read_report(out)
    from erde_nas.bundle.source import find_student
    from erde_nas.bundle.write import write_bundle

    return write_bundle(find_student(out, student, found), to, tuple(formats))


def profile(
    model: Path, names: Sequence[str], images: Path | None, compare: Path | None = None, size: int | None = None
) -> list[dict[str, Any]]:
    """Rows per profile: milliseconds per exit, expected mean, and the measured stream where images are given.

    A profile under which nothing can be measured gives a row with its name and `error`; the others are measured.
    `compare` is a second file, whose row holds its `ratio` to the first. `size` is that of images where a file leaves
    it open. What is assumed of a file of other makes is said, and stands in its row's `remarks`.
    """
    from erde_nas.data.images import left_out
    from erde_nas.measurement.profiling import profile_files
    from erde_nas.progress.meter import Meter
    from erde_nas.recipe.profile import load_profile

    loaded = [load_profile(resources.find("profiles", name)) for name in names]
    files = [path for path in (model, compare) if path is not None]
    rows: list[dict[str, Any]] = []
    said: set[str] = set()
    with Meter() as meter:

        def say(text: str) -> None:
            if text not in said:
                said.add(text)
                meter.say(text)

        if images is not None and (line := left_out(images)):
            say(line)
        meter.plan({"measure": float(len(loaded))})
        for wanted in loaded:

            def progress(number: int, wanted: Any = wanted) -> None:
                least = wanted.measure.processes
                more = f"/{least}" if number <= least else ", until the intervals are narrow"
                meter.add("measure", 1 / least if number <= least else 0.0, f"{wanted.name}, process {number}{more}")

            try:
                found, ratio = profile_files(files, wanted, images, progress, size=size, say=say)
            except UserError as error:
                rows.append({"profile": wanted.name, "error": str(error)})
                continue
            if ratio is not None:
                found[1]["ratio"] = asdict(ratio)
            rows += found
    return rows


def distil(
    recipe: str,
    out: Path,
    *,
    losses: Sequence[str] | None,
    seeds: int,
    student: str | None,
    epochs_scale: float | None,
    device: str,
    data_dir: Path | None,
) -> Sequence[str]:
    """Train one student with every loss, continuing what `out` holds; returns the tables to show.

    `recipe` may be the folder of a run, whose own recipe and data are taken then. Without `losses`, those of EVERYDAY,
    or the recipe's own where that has a preset.
    """
    from erde_nas.comparison.loss_names import parse_loss
    from erde_nas.recipe.preset import expand, expanded
    from erde_nas.recipe.recipe import load_recipe

    run = Path(recipe) if Path(recipe).is_dir() else None
    if run is None and student is not None:
        raise UserError(f"--student {student} needs the folder of a run in place of the recipe '{recipe}'")
    found = load_recipe((run / "recipe.yaml") if run else resources.find("search", recipe))
    names = losses or (EVERYDAY if found.distil.preset is None else [found.distil.loss])
    plans = {text: expand(found, parse_loss(text, found.distil)) for text in names}
    if epochs_scale is not None:
        plans = {text: plan.scaled(epochs_scale) for text, plan in plans.items()}
    chosen = adjust(expanded(found), trials=None, seed=None, epochs_scale=epochs_scale)

    from erde_nas.comparison import compare
    from erde_nas.comparison.tables import headline
    from erde_nas.progress.meter import Meter

    with Meter() as meter:
        summary = compare.run(
            chosen, plans, seeds, out, student=student, run=run, device=device, data_dir=data_dir, meter=meter
        )
    return headline(summary)


def predict(model: Path, images: Sequence[Path], resize: bool) -> list[dict[str, Any]]:
    """One row per image: class, probability, exit, entropy (nats) and logits."""
    from erde_nas.bundle.predict import predict_files

    return predict_files(model, images, resize=resize, say=lambda text: print(f"note: {text}", file=sys.stderr))


def predict_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    from erde_nas.device.bundle_runner import plain

    body = [[plain(r["image"]), r["class"], f"{r['probability']:.3f}", r["exit"], f"{r['entropy']:.3f}"] for r in rows]
    return tabulate(body, headers=["image", "class", "probability", "exit", "entropy (nats)"], disable_numparse=True)


def description(kind: resources.Kind, path: Path) -> str:
    """The description in a shipped YAML."""
    from erde_nas.recipe.profile import load_profile
    from erde_nas.recipe.recipe import load_recipe

    return (load_recipe(path) if kind == "search" else load_profile(path)).description


def check_recipe(name: str) -> str:
    """Check a recipe, the profiles it names, its data where they are here, and a checkpoint of the user's own.

    Nothing is downloaded. Raises UserError with all problems.
    """
    from erde_nas.data.load import load_dataset
    from erde_nas.data.summary import describe_data
    from erde_nas.recipe.profile import load_profile
    from erde_nas.recipe.recipe import load_recipe

    path = resources.find("search", name)
    recipe = load_recipe(path)
    profiles = tuple(load_profile(resources.find("profiles", profile_name)) for profile_name in recipe.profiles)
    dataset = None
    try:
        dataset = load_dataset(recipe.dataset)
        lines = describe_data(dataset)
    except DataMissing as error:
        lines = [f"data: not checked: {error}"]
    if recipe.teacher.checkpoint is not None:
        from erde_nas.run.own_teacher import check_teacher_of

        lines += check_teacher_of(recipe, profiles, dataset)
    fine = f"{path}: recipe '{recipe.name}' is fine: {recipe.search.budget} with {recipe.search.searcher}"
    return "\n".join([fine, *lines])


def check_profile(name: str) -> str:
    """Check a profile and this machine against it. Raises UserError with all problems."""
    from erde_nas.measurement.target import machine_of, obstacle
    from erde_nas.recipe.profile import load_profile

    path = resources.find("profiles", name)
    loaded = load_profile(path)
    reason = obstacle(loaded, machine_of(loaded))
    if reason:
        raise UserError(reason)
    where = loaded.target if loaded.elsewhere else "this machine"
    return f"{path}: profile '{loaded.name}' is fine, and {where} may answer for it"


def write_new(path: Path, text: str) -> Path:
    """Write a file that does not exist yet."""
    if path.exists():
        raise UserError(f"{path} exists already; give another name")
    write_atomic(path, lambda temporary: temporary.write_text(text))
    return path


def data_table(data_dir: Path | None) -> str:
    """Every data set, its origin, size and place."""
    from erde_nas.data.fetch import list_datasets

    rows = [
        [
            item.name,
            item.origin,
            f"{item.size_bytes / 1e6:.0f} MB" if item.size_bytes else "-",
            item.found or "not here",
        ]
        for item in list_datasets(data_dir)
    ]
    return tabulate(rows, headers=["data set", "from", "download", "found"], disable_numparse=True)


def fetch(name: str, data_dir: Path | None) -> Path:
    """Download and unpack a data set, with a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from erde_nas.data.fetch import fetch as fetch_dataset

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def on_bytes(file: str, done: int, total: int | None) -> None:
        if file not in tasks:
            bar.start()  # not before: what is here already, or unknown, shows no bar
            tasks[file] = bar.add_task(file, total=total)
        bar.update(tasks[file], completed=done, total=total)

    try:
        return fetch_dataset(name, data_dir, progress=on_bytes)
    finally:
        if tasks:
            bar.stop()
