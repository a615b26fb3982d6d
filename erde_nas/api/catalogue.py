"""The YAML files that users read, copy and edit: shipped recipes and hardware profiles, checked, and one made here."""

from pathlib import Path

from erde_nas.api.inputs import profiles_of
from erde_nas.errors import DataMissing, UserError
from erde_nas.files import write_atomic
from erde_nas.recipe import shipped
from erde_nas.recipe.profile import load_profile
from erde_nas.recipe.recipe import load_recipe

Kind = shipped.Kind


def descriptions(kind: Kind) -> dict[str, str]:
    """The shipped files of one kind: what each is for, by name."""
    load = load_recipe if kind == "search" else load_profile
    return {name: load(path).description for name, path in shipped.shipped(kind).items()}


def text_of(kind: Kind, name: str) -> str:
    """A file with its comments, by its name or path. Raises UserError where there is none."""
    return shipped.find(kind, name).read_text()


def copy(kind: Kind, name: str, to: Path) -> Path:
    """Copy a shipped file to a new .yaml file, or into a folder; the new file. Raises UserError."""
    return shipped.copy(kind, name, to)


def check_recipe(name: str, data_dir: Path | None = None) -> str:
    """Check a recipe, the profiles it names, its data where they are here, and a checkpoint of the user's own.

    Nothing is downloaded. Raises UserError with all problems.
    """
    path = shipped.find("search", name)
    recipe = load_recipe(path)
    profiles = profiles_of(recipe.profiles)
    from erde_nas.data.load import load_dataset
    from erde_nas.data.summary import describe_data

    dataset = None
    try:
        dataset = load_dataset(recipe.dataset, data_dir)
        lines = describe_data(dataset)
    except DataMissing as error:
        lines = [f"data: not checked: {error}"]
    if recipe.teacher.checkpoint is not None:
        from erde_nas.run.own_teacher import check_teacher_of

        lines += check_teacher_of(recipe, profiles, dataset)
    fine = f"{path}: recipe '{recipe.name}' is fine: {recipe.search.budget} with {recipe.search.searcher}"
    return "\n".join([fine, *lines])


def check_data(name: str, data_dir: Path | None = None) -> str:
    """Look at a recipe's data alone: counts, sizes, files that cannot be read, and what looks wrong.

    Raises UserError where the data are not here or cannot be used.
    """
    from erde_nas.data.load import load_dataset, read_all
    from erde_nas.data.summary import describe_data, sizes_line

    dataset = load_dataset(load_recipe(shipped.find("search", name)).dataset, data_dir)
    read_all(dataset)
    return "\n".join([*describe_data(dataset), *sizes_line(dataset)])


def check_profile(name: str) -> str:
    """Check a profile and this machine against it. Raises UserError with all problems."""
    path = shipped.find("profiles", name)
    loaded = load_profile(path)
    from erde_nas.measurement.target import machine_of, obstacle

    reason = obstacle(loaded, machine_of(loaded))
    if reason:
        raise UserError(reason)
    where = loaded.target if loaded.elsewhere else "this machine"
    return f"{path}: profile '{loaded.name}' is fine, and {where} may answer for it"


def detect_profile() -> str:
    """A commented profile for this machine, as YAML."""
    from erde_nas.measurement import detect

    return detect.detect_profile(detect.describe_machine())


def write_new(path: Path, text: str) -> Path:
    """Write a file that does not exist yet. Raises UserError where it does."""
    if path.exists():
        raise UserError(f"{path} exists already; give another name")
    write_atomic(path, lambda temporary: temporary.write_text(text))
    return path
