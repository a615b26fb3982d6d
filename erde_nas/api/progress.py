"""How a long call tells what it is doing: not at all, as the command line does, or to a function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from erde_nas.errors import UserError
from erde_nas.progress.meter import Meter
from erde_nas.progress.quiet import quiet

Progress: TypeAlias = bool | Callable[[float, str], object] | Meter
"""False: silent. True: the command line's meter, on the standard error. A function: it hears how much is done, from 0
to 1, and what is going on, in words. A `Meter`: as it was made, with a log for one."""


@contextmanager
def telling(progress: Progress) -> Iterator[Meter]:
    """The meter for a call, whose clock begins now; libraries are silent meanwhile."""
    if isinstance(progress, Meter):
        meter = progress
    elif isinstance(progress, bool) or callable(progress):
        meter = Meter() if progress is True else Meter(tell=nobody if progress is False else progress)
    else:
        raise UserError(f"progress must be True, False or a function of (share, text), but got {progress!r}")
    with quiet(), meter:
        yield meter


def nobody(share: float, text: str) -> None:
    """Hears nothing."""
