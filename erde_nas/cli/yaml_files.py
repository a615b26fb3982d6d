"""The commands `erde-nas recipes` and `erde-nas profiles`: the YAML files that users read, copy and edit."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from erde_nas.cli import completion, options

recipes = typer.Typer(no_args_is_help=True, help="Search recipes: list, show, copy and check them.")
profiles = typer.Typer(no_args_is_help=True, help="Hardware profiles: list, show, copy, check and detect them.")

Kind = Literal["search", "profiles"]  # the folders of shipped files
RecipeName = Annotated[str, typer.Argument(metavar="NAME|FILE", autocompletion=completion.recipes, help="A recipe.")]
ProfileName = Annotated[
    str, typer.Argument(metavar="NAME|FILE", autocompletion=completion.profiles, help="A hardware profile.")
]
ShippedRecipe = Annotated[str, typer.Argument(autocompletion=completion.recipes, help="Name of a shipped one.")]
ShippedProfile = Annotated[str, typer.Argument(autocompletion=completion.profiles, help="Name of a shipped one.")]
CopyTo = Annotated[Path, typer.Argument(help="A new .yaml file, or a folder.")]


def _listing(kind: Kind) -> None:
    from erde_nas.api import catalogue

    for name, description in catalogue.descriptions(kind).items():
        print(f"{name:24} {description}")


@recipes.command("list")
def recipes_list() -> None:
    """The shipped recipes."""
    _listing("search")


@recipes.command("show")
def recipes_show(name: RecipeName) -> None:
    """Print a recipe with its comments."""
    from erde_nas.api import catalogue

    print(catalogue.text_of("search", name), end="")


@recipes.command("copy")
def recipes_copy(name: ShippedRecipe, to: CopyTo) -> None:
    """Copy a shipped recipe, to edit it."""
    from erde_nas.api import catalogue

    print(catalogue.copy("search", name, to))


@recipes.command("check")
def recipes_check(
    name: RecipeName,
    data: Annotated[bool, typer.Option("--data", help="Look at the data alone, and read every image.")] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Check a recipe, the profiles it names, its data and a teacher of your own, where these are here."""
    from erde_nas.api import catalogue

    print(catalogue.check_data(name, data_dir) if data else catalogue.check_recipe(name, data_dir))


@profiles.command("list")
def profiles_list() -> None:
    """The shipped hardware profiles."""
    _listing("profiles")


@profiles.command("show")
def profiles_show(name: ProfileName) -> None:
    """Print a hardware profile with its comments."""
    from erde_nas.api import catalogue

    print(catalogue.text_of("profiles", name), end="")


@profiles.command("copy")
def profiles_copy(name: ShippedProfile, to: CopyTo) -> None:
    """Copy a shipped hardware profile, to edit it."""
    from erde_nas.api import catalogue

    print(catalogue.copy("profiles", name, to))


@profiles.command("check")
def profiles_check(name: ProfileName) -> None:
    """Check a hardware profile, and whether this machine may answer for it."""
    from erde_nas.api import catalogue

    print(catalogue.check_profile(name))


@profiles.command("detect")
def profiles_detect(
    to: Annotated[Path | None, typer.Argument(metavar="FILE", help="A new file; printed otherwise.")] = None,
) -> None:
    """Write a hardware profile for this machine."""
    from erde_nas.api import catalogue

    text = catalogue.detect_profile()
    print(text if to is None else catalogue.write_new(to, text), end="" if to is None else "\n")
