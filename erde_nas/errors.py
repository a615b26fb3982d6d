"""The errors that a user can mend, and the end that a user asks for. A command ends with one line and its exit code."""

import re
from pathlib import Path

HIDDEN = "***"
SECRET_NAME = r"[\w.-]*(?:passw|pwd|passphrase|secret|token|api_?key|credential)[\w.-]*"
_IN_ADDRESS = re.compile(r"(://[^\s:/@]*):\S*@")  # greedy: a password may hold an @, or whatever is not allowed there
_BY_NAME = re.compile(rf"({SECRET_NAME})=('[^']*'|\"[^\"]*\"|[^\s&;#'\"]+)", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text without passwords: those in addresses (`//user:password@host`), and what follows `password=`, `token=`
    and the like. Whatever is shown or kept of an address of the user's goes through here."""
    return _BY_NAME.sub(rf"\1={HIDDEN}", _IN_ADDRESS.sub(rf"\1:{HIDDEN}@", text))


def printable(text: str) -> str:
    """The text with its lines, but with nothing in it that steers a terminal or that no encoding has: a name of a file
    or class may hold both."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what to do next; with no password, and nothing that a
    terminal would act on."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(redacted(str(message))))


class DataMissing(UserError):
    """A data set is not on this machine, or not where it is said to be."""


class SpaceExhausted(Exception):
    """Every architecture of the search space has been proposed."""


class TrainingFailed(Exception):
    """One candidate could not be trained (NaN, a dead exit head, out of memory); the search goes on without it."""


class RuntimeRefused(UserError):
    """A runtime cannot run a file; it may run others."""


class ProcessLost(RuntimeRefused):
    """A measuring process here ended before its time: killed, out of memory, or too slow. Another attempt may do."""


class DeviceLost(UserError):
    """A device elsewhere cannot be reached, or was lost in the middle; it may answer again later."""


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl+C came after candidates were finished: `folder` holds the report of what there is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; what is finished is kept in {folder}, and the same call continues")
        self.folder = folder
