"""Where the agent runs: in a fresh process of this machine, or on a device elsewhere."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from erde_nas.device.machine import Machine
from erde_nas.errors import RuntimeRefused
from erde_nas.measurement.detect import describe_machine, mismatch
from erde_nas.measurement.remote import device
from erde_nas.recipe.profile import HardwareProfile

START_S = 60  # of the time-out of a job elsewhere: Python, the runtime, the reference model


def machine_of(profile: HardwareProfile) -> Machine:
    """The machine that would answer for the profile. Raises UserError where it cannot be asked."""
    return device(profile.target, profile.python).describe() if profile.elsewhere else describe_machine()


def obstacle(profile: HardwareProfile, machine: Machine) -> str | None:
    """Why `machine`, the one of `machine_of`, may not answer for the profile; None if it may."""
    reason = mismatch(profile, machine)
    return f"{profile.target}: {reason}" if reason and profile.elsewhere else reason


def run_there(profile: HardwareProfile, job: Path) -> dict[str, Any]:
    """As `run_here`, on the profile's device. Raises DeviceLost where it is lost twice in a row."""
    models = len(json.loads(job.read_text())["models"])
    return device(profile.target, profile.python).run(job, START_S + profile.measure.timeout_s * models)


def run_here(job: Path) -> dict[str, Any]:
    """The result of the job in the file `job`. Raises RuntimeRefused with the runtime's own words where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "erde_nas.device.agent", str(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
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
    return json.loads(done.stdout.splitlines()[-1])  # a runtime may print before it
