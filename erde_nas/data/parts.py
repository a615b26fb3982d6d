"""Splits that a user's own data bring along: how they are named, and what is made of them."""

import re
from collections.abc import Mapping
from typing import TypeVar

PARTS = ("train", "test", "validation")
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
FILLERS = frozenset(("set", "data", "dataset", "image", "images", "img", "imgs", "split"))

T = TypeVar("T")


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return re.findall(r"[^\W_]+", name.casefold())


def part_of(name: str) -> str | None:
    """The split that is called so, in any case: train, Valid, testset, validation_set, test-images. Else None."""
    words = [word for word in words_of(name) if word not in FILLERS]
    return WORDS.get(words[0].removesuffix("set")) if len(words) == 1 else None


def without_test(parts: Mapping[str, T], taken: Mapping[str, str]) -> tuple[dict[str, T], str]:
    """The splits, and the line that says what was taken for which; a validation split without a test split is the test.

    Those are the images that a user put aside, which their own networks have not seen either. They are worth most where
    they are read once: the report's numbers are about them, and validation images are held out of train.
    """
    parts, taken = dict(parts), dict(taken)
    if "validation" in parts and "test" not in parts:
        parts["test"], taken["test"] = parts.pop("validation"), taken.pop("validation")
        more = "; there is no other for test, so it is read once, for the report, and validation is held out of train"
    else:
        missing = [part for part in ("validation", "test") if part not in parts]
        more = f"; {' and '.join(missing)} held out of train" if missing else ""
    return parts, "splits: " + ", ".join(f"{taken[part]} is {part}" for part in PARTS if part in parts) + more
