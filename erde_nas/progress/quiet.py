"""Warnings and log lines of libraries are for developers: users get one clear line of ours, or none."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_libraries() -> None:
    """Silence what libraries warn of and log below an error in this process, unless Python was asked for warnings.

    To be called before torch is imported, whose C++ part reads its level then.
    """
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@contextmanager
def quiet() -> Iterator[None]:
    """The same while the context lasts, for a library that leaves its caller's settings as they were."""
    if sys.warnoptions:
        yield
        return
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(before)
