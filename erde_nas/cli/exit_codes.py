"""How a command ends: 0 done, 1 internal error, 2 user error with one message, 130 interrupted."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

from erde_nas.errors import UserError
from erde_nas.progress.interrupt import answered, listening
from erde_nas.progress.quiet import quiet_libraries
from erde_nas.registry import REGISTRIES

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_ACCESS = (errno.EACCES, errno.EROFS, errno.EPERM)
NO_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


@contextmanager
def continuable() -> Iterator[None]:
    """Around work that the same command takes up again: Ctrl+C says so and gives exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        answered()
        print("Interrupted. What is finished is kept; the same command continues.", file=sys.stderr)
        raise typer.Exit(130) from None


def run_command_line(app: Callable[..., Any]) -> None:
    """Run it to its end: the library's errors become one line and an exit code."""
    quiet_libraries()  # tests turn warnings into errors
    if isinstance(sys.stdout, io.TextIOWrapper):  # no name of a class or file breaks an output that is not in UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            with listening():
                code = app(standalone_mode=False, prog_name="erde-nas")
        finally:
            if sys.stdout is not None:  # None: it was closed before the command began
                sys.stdout.flush()  # here, and not when Python ends, a closed pipe and a full disk can be answered
    except UserError as error:
        _say_left_out(str(error))
        _fail(str(error))
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        if error.errno not in (*NO_SPACE, *NO_ACCESS, *NO_PATH):
            raise
        _drop_output()
        step = "choose another path" if error.errno in NO_PATH else "make it writable or choose another folder"
        step = "free space" if error.errno in NO_SPACE else step
        _fail(f"{error.filename or 'the output'}: {error.strerror}; {step}, then run it again")
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _refuse(error)
    else:
        _say_left_out()
        sys.exit(code if isinstance(code, int) else 0)


def _refuse(error: Any) -> None:
    """What the parser says of a command that it cannot read, in one line; its help where there is no command at all.

    It is click's, which typer brings along under changing names.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    words = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "erde-nas"
    _fail(f"{words}{' See' if words.endswith('?') else '; see'} `{command} --help`")


def _say_left_out(said: str = "") -> None:
    """Name the plug-ins that the command came across and could not use, but for those that `said` names."""
    for line in [line for registry in REGISTRIES for line in registry.noticed() if line not in said]:
        print(f"note: {line}", file=sys.stderr)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """Python would try to write what is left of the output once more when it ends, and complain again."""
    if sys.stdout is None:
        return
    with suppress(OSError):
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
