"""`erde_nas.search`: from a recipe to a run with its report."""

from os import PathLike

from erde_nas.api.inputs import Profiles, RecipeLike, changed, folder_of, number_of, profiles_of, recipe_of
from erde_nas.api.progress import Progress, telling
from erde_nas.api.run import Run
from erde_nas.errors import SearchInterrupted, UserError
from erde_nas.recipe.recipe import Recipe

MOST_WORKERS = 10_000


def search(  # noqa: PLR0913 (a keyword for each wish, for help() and editors; below, they are three values)
    recipe: RecipeLike,
    out: str | PathLike[str],
    *,
    profiles: Profiles | None = None,
    trials: int | None = None,
    hours: float | None = None,
    seed: int | None = None,
    epochs_scale: float | None = None,
    device: str = "auto",
    data_dir: str | PathLike[str] | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    storage: str | None = None,
    deterministic: bool = False,
    progress: Progress = False,
) -> Run:
    """Search, distil, compress, export, measure and report; the same call with the same `out` continues.

    Args:
        recipe: name of a shipped recipe, path of a YAML file, its keys as a dictionary, or a `Recipe`.
        out: the run's folder.
        profiles: hardware profiles instead of the recipe's: one or several names, paths, dictionaries or objects.
        trials: candidates, instead of the recipe's number.
        hours: for the whole run; without `trials`, as many candidates as fit, finishing included.
        seed: instead of the recipe's, from 0 to 2³² - 1.
        epochs_scale: multiplies every number of epochs, for a trial run.
        device: where students are trained: auto, cpu or cuda.
        data_dir: folder with the data set's official files.
        workers: candidates at once, in processes here or as actors of the cluster.
        cluster: address of a Ray cluster that evaluates candidates: auto, ray://host:10001.
        storage: URL of a database that several searches share: postgresql://user@host/database.
        deterministic: fix precision, layout and threads of training, which are otherwise timed: on a CPU, an
            architecture comes out with the same weights, bit for bit, in every run.
        progress: False is silent, True shows a meter, a function hears `(share, text)`.

    Returns:
        The run with its report; profiles whose device was lost meanwhile stand in `Run.unmeasured`.

    Raises:
        UserError: for a mistake in what was given; the message says where and what to do.
        SearchInterrupted: a KeyboardInterrupt, where Ctrl+C came after candidates were finished: their report is
            written, and `load_run` reads it.
        KeyboardInterrupt: where nothing was finished yet.
    """
    with telling(progress) as meter:  # first, so that its clock counts what loading the libraries takes
        chosen = changed(
            _searchable(recipe_of(recipe)), trials=trials, hours=hours, seed=seed, epochs_scale=epochs_scale
        )
        loaded = profiles_of(chosen.profiles if profiles is None else profiles)
        from erde_nas import pipeline
        from erde_nas.searching.workers.placement import Placement

        if workers is not None:
            number_of("workers", workers, 1, MOST_WORKERS, whole=True)
        folder = folder_of(out)
        report = pipeline.search(
            chosen,
            loaded,
            folder,
            data_dir=None if data_dir is None else folder_of(data_dir),
            meter=meter,
            placement=Placement(workers, cluster, device, deterministic),
            storage=storage,
        )
        if report.interrupted:
            raise SearchInterrupted(folder)
    return Run(folder, report)


def plan(  # noqa: PLR0913 (the keywords of search that a plan depends on)
    recipe: RecipeLike,
    *,
    profiles: Profiles | None = None,
    trials: int | None = None,
    hours: float | None = None,
    epochs_scale: float | None = None,
    device: str = "auto",
    data_dir: str | PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress = True,
) -> None:
    """Say what `search` would do in a new folder, and what each stage should take on this machine.

    A few training steps and latencies are timed for that; nothing is trained, and no folder is written.

    Args:
        recipe: as `search` takes it, and so are all others.
        profiles: hardware profiles, instead of the recipe's.
        trials: candidates, instead of the recipe's number.
        hours: for the whole run.
        epochs_scale: what every number of epochs is multiplied by.
        device: auto, cpu or cuda.
        data_dir: folder with the data set's official files.
        workers: candidates at once.
        progress: True shows the lines, a function hears them.

    Raises:
        UserError: for what `search` would refuse before it trains anything.
    """
    with telling(progress) as meter:
        chosen = changed(_searchable(recipe_of(recipe)), trials=trials, hours=hours, epochs_scale=epochs_scale)
        loaded = profiles_of(chosen.profiles if profiles is None else profiles)
        from erde_nas import pipeline
        from erde_nas.searching.workers.placement import Placement

        if workers is not None:
            number_of("workers", workers, 1, MOST_WORKERS, whole=True)
        folder = None if data_dir is None else folder_of(data_dir)
        pipeline.plan(chosen, loaded, data_dir=folder, meter=meter, placement=Placement(workers, None, device))


def _searchable(recipe: Recipe) -> Recipe:
    """The recipe. Raises UserError where it is one for `train` alone."""
    if recipe.distil.preset is not None:
        raise UserError(
            "distil.preset belongs to one named student, but a search has many; use `erde-nas distil`, or write "
            "the values themselves"
        )
    if recipe.dataset.validation == 0:
        raise UserError(
            "dataset.validation: 0 keeps no image back, but a search chooses by them; write a share, say 0.1"
        )
    return recipe
