"""Where the agent runs: in a fresh process of this machine, or on a device elsewhere."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from erde_nas.device.agent.job import Answer, Job, read_answer
from erde_nas.device.agent.json_records import DamagedRecord, last_object
from erde_nas.device.machine import Machine
from erde_nas.device.python_process import command, environment
from erde_nas.errors import RuntimeRefused
from erde_nas.measurement.detect import describe_machine, mismatch
from erde_nas.measurement.ssh_device import device
from erde_nas.recipe.profile import HardwareProfile

START_S = 60  # of the time-out of a job elsewhere: Python, the runtime, the reference model


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
    seconds = START_S + profile.measure.timeout_s * len(job.models)
    return _checked(lambda: device(profile.target, profile.python).run(folder, seconds), job, profile.target)


def run_here(job: Job, folder: Path) -> Answer:
    """The answer of a fresh process to the job, whose files lie in `folder`.

    Raises RuntimeRefused with the runtime's own words where it fails, or where the answer is damaged.
    """
    job.write(folder)
    return _checked(lambda: last_object(_run_agent(folder)), job, "this machine")


def _checked(ask: Callable[[], dict[str, Any]], job: Job, where: str) -> Answer:
    """What a machine answers. One damaged answer may be one file's fault: others may do without that file."""
    try:
        return read_answer(ask(), job)
    except DamagedRecord as error:
        raise RuntimeRefused(
            f"{where}: what the agent there answered is damaged: {error}; see with `erde-nas profiles check` whether "
            "the runtime works there, and measure again"
        ) from error


def _run_agent(folder: Path) -> str:
    """What the agent prints here."""
    done = subprocess.run(
        command("erde_nas.device.agent", str(folder)),
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(OMP_NUM_THREADS="1"),
        check=False,
    )
    if done.returncode < 0:
        raise RuntimeRefused(
            f"measuring failed: the process was ended ({signal.strsignal(-done.returncode)}); was there too little "
            "memory? Run `erde-nas doctor` to see what this machine has."
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeRefused(
            f"measuring failed in the runtime: {reason[0]}. Run `erde-nas doctor` to see what this machine has."
        )
    return done.stdout
