"""Warnings and log lines of libraries are for developers: users get one clear line of ours, or none."""

import logging
import os
import sys
import warnings


def quiet_libraries() -> None:
    """Silence what libraries warn of and log below an error in this process, unless Python was asked for warnings.

    To be called before torch is imported, whose C++ part reads its level then.
    """
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
