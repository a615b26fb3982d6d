"""The names that a caller may give, quick to find: what the shell offers, and a help text."""

from erde_nas.recipe.shipped import shipped


def recipes() -> list[str]:
    """The shipped recipes."""
    return list(shipped("search"))


def profiles() -> list[str]:
    """The shipped hardware profiles."""
    return list(shipped("profiles"))


def losses() -> list[str]:
    """The losses that a recipe may name."""
    from erde_nas.recipe.distil import LOSSES

    return list(LOSSES)


def datasets() -> list[str]:
    """The data sets that can be fetched."""
    from erde_nas.data.kind import official

    return list(official())
