"""The name of a runtime in, its module out, imported when it is used: most are optional."""

from typing import cast

from erde_nas.device.instructions import Cpu
from erde_nas.device.runtimes.interface import Runtime, Setting
from erde_nas.registry import RUNTIMES


def runtime(name: str) -> Runtime:
    """The runtime of that name. Its package is imported by what it does, not here."""
    return cast(Runtime, RUNTIMES[name])


def answers_like(name: str) -> str:
    """The runtime that answers just as the one of that name does and is loaded sooner: mostly itself."""
    return str(getattr(runtime(name), "ANSWERS_LIKE", name))


def unfit(name: str, setting: Setting, cpu: Cpu) -> str:
    """Why the runtime would not calculate in the setting's precision on such a machine; empty where it does."""
    return str(getattr(runtime(name), "unfit", lambda setting, cpu: "")(setting, cpu))
