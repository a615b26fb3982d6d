"""Where the agent runs: in a fresh process of this machine, or on a device elsewhere."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from erde_nas.device.agent.job import Answer, Job, read_answer
from erde_nas.device.agent.json_records import DamagedRecord, last_object
from erde_nas.device.machine import Machine
from erde_nas.device.python_process import command, environment
from erde_nas.errors import ProcessLost, RuntimeRefused
from erde_nas.measurement.detect import describe_machine, mismatch
from erde_nas.measurement.ssh_device import device
from erde_nas.recipe.profile import HardwareProfile

START_S = 60  # of the time-out of a job: Python, the runtime, the reference model
NO_MEMORY = ("out of memory", "MemoryError", "bad_alloc", "annot allocate memory")  # in what a runtime says


def machine_of(profile: HardwareProfile) -> Machine:
    """The machine that would answer for the profile. Raises UserError where it cannot be asked."""
    return device(profile.target, profile.python).describe() if profile.elsewhere else describe_machine()


def obstacle(profile: HardwareProfile, machine: Machine) -> str | None:
    """Why `machine`, the one of `machine_of`, may not answer for the profile; None if it may."""
    reason = mismatch(profile, machine)
    return f"{profile.target}: {reason}" if reason and profile.elsewhere else reason


def run_there(profile: HardwareProfile, job: Job, folder: Path) -> Answer:
    """As `run_here`, on the profile's device. Raises DeviceLost where it is lost twice in a row."""
    job.write(folder)
    seconds = seconds_for(profile, job)
    return _checked(lambda: device(profile.target, profile.python).run(folder, seconds), job, profile.target)


def seconds_for(profile: HardwareProfile, job: Job) -> int:
    """What a job may take in one process."""
    return int(START_S + profile.measure.timeout_s * len(job.models))


def run_here(profile: HardwareProfile, job: Job, folder: Path) -> Answer:
    """The answer of a fresh process to the job, whose files lie in `folder`.

    Raises RuntimeRefused with the runtime's own words where it fails, or where the answer is damaged, and ProcessLost
    where it ended before its time twice.
    """
    job.write(folder)
    seconds = seconds_for(profile, job)
    return _checked(lambda: last_object(_twice(lambda: _run_agent(folder, seconds))), job, "this machine")


def _twice(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except ProcessLost:  # by chance, most often: others wanted the memory, or somebody cleaned up
        return ask()


def _checked(ask: Callable[[], dict[str, Any]], job: Job, where: str) -> Answer:
    """What a machine answers. One damaged answer may be one file's fault: others may do without that file."""
    try:
        return read_answer(ask(), job)
    except DamagedRecord as error:
        raise RuntimeRefused(
            f"{where}: what the agent there answered is damaged: {error}; see with `erde-nas profiles check` whether "
            "the runtime works there, and measure again"
        ) from error


def _run_agent(folder: Path, seconds: int) -> str:
    """What the agent prints here. It ends when this process does, however that ends: its stdin closes then."""
    read, write = os.pipe()
    try:
        done = subprocess.run(
            command("erde_nas.device.agent", str(folder)),
            stdin=read,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(OMP_NUM_THREADS="1"),
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessLost(
            f"measuring failed: no result within {seconds} s; raise measure.timeout_s of the profile"
        ) from error
    finally:
        os.close(read)
        os.close(write)
    if done.returncode < 0:
        raise ProcessLost(
            f"measuring failed: the process was ended ({signal.strsignal(-done.returncode)}); was there too little "
            "memory? Run `erde-nas doctor` to see what this machine has."
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        kind = ProcessLost if any(words in reason[0] for words in NO_MEMORY) else RuntimeRefused
        raise kind(f"measuring failed in the runtime: {reason[0]}. Run `erde-nas doctor` to see what this machine has.")
    return done.stdout
