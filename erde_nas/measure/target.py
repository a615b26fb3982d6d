"""Where the agent runs: in a fresh process of this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from erde_nas.errors import UserError


def run_here(job: Path) -> dict[str, Any]:
    """The result of the job in the file `job`. Raises UserError with the runtime's own words where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "erde_nas.agent", str(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(
            f"measuring failed in the runtime: {reason[0]}. Run `erde-nas doctor` to see what this machine has."
        )
    return json.loads(done.stdout.splitlines()[-1])  # a runtime may print before it
