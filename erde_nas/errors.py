"""The errors that a user can mend, and the end that a user asks for. A command ends with one line and its exit code."""

from pathlib import Path


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what to do next."""


class DataMissing(UserError):
    """A data set is not on this machine, or not where it is said to be."""


class SpaceExhausted(Exception):
    """Every architecture of the search space has been proposed."""


class TrainingFailed(Exception):
    """One candidate could not be trained (NaN, a dead exit head, out of memory); the search goes on without it."""


class RuntimeRefused(UserError):
    """A runtime cannot run a file; it may run others."""


class DeviceLost(UserError):
    """A device elsewhere cannot be reached, or was lost in the middle; it may answer again later."""


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl+C came after candidates were finished: `folder` holds the report of what there is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; what is finished is kept in {folder}, and the same call continues")
        self.folder = folder
