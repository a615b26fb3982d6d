"""python -m tests.fuzz.campaign [--inputs 20000] [--only NAME]... [--seed 0] [--keep FOLDER]

What the readers answer to files that were changed at random.

Each target runs in a process of its own, which imports once; an input that ends it, takes over 10 s of processor time,
or raises anything but an error for the user counts as a failure and is kept. Prints a line per target; exit code 1
where one failed.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS, WALL_S = 10, 400  # of the processor, since others may use the machine; and of a clock, for what waits
WARM = 5  # inputs until everything is imported
SLOW = {"page": 20, "profile": 4, "pareto.json": 3, "predict": 2, "recipe.yaml": 2, "study.db": 2}  # cost, in shares


class Hang(BaseException):
    """An input takes too long."""


def run_target(name: str, inputs: int, seed: int, keep: Path) -> dict[str, Any]:
    """Read so many inputs; what came of them. The input at work lies in `keep/NAME.current`."""
    import hypothesis

    from erde_nas.device.bundle_runner import RunError
    from erde_nas.errors import UserError
    from erde_nas.progress.quiet import quiet_libraries
    from tests.fuzz.targets import TARGETS

    quiet_libraries()
    target, kinds, failures = TARGETS[name], Counter[str](), dict[str, int]()
    current = keep / f"{name}.current"
    slowest = 0.0

    def hang(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    signal.signal(signal.SIGPROF, hang)

    def read(data: bytes) -> None:
        nonlocal slowest
        if sum(kinds.values()) >= inputs:
            return
        current.write_bytes(data)
        folder = Path(tempfile.mkdtemp(prefix="erde-nas-fuzz-"))
        began = time.process_time()
        warm = sum(kinds.values()) >= WARM
        signal.setitimer(signal.ITIMER_PROF, SECONDS if warm else 300)
        signal.alarm(WALL_S)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                target.read(data, folder)
            kinds["read"] += 1
        except (UserError, RunError):
            kinds["refused"] += 1
        except (Exception, Hang) as error:
            signal.alarm(0)
            kinds["failed"] += 1
            last = traceback.extract_tb(error.__traceback__)
            own = [f for f in last if "erde_nas" in f.filename][-1:] or last[-1:]
            text = f"{type(error).__name__} {own[0].filename.rpartition('/')[2]}:{own[0].lineno} {str(error)[:100]!r}"
            where = text.split("'")[0]
            failures[text if where not in "".join(failures) else where] = failures.get(where, 0) + 1
            if len(failures) < 30:
                shutil.copyfile(current, keep / f"{name}.{len(failures)}")
        finally:
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, time.process_time() - began) if warm else 0.0
            shutil.rmtree(folder, ignore_errors=True)

    settings = hypothesis.settings(
        max_examples=inputs * 2,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.seed(seed)(settings(hypothesis.given(target.inputs())(read)))()
    current.unlink(missing_ok=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"target": name, **kinds, "failures": failures, "slowest_s": round(slowest, 2), "peak_mb": peak // 10**6}


def shares(names: list[str], inputs: int) -> dict[str, int]:
    """Inputs per target: fewer of those that take long."""
    weights = {name: 1 / SLOW.get(name, 1) for name in names}
    return {name: math.ceil(inputs * weight / sum(weights.values())) for name, weight in weights.items()}


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--only", action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "erde-nas-fuzz")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    faulthandler.enable()
    if given.child:
        print("\n" + json.dumps(run_target(given.only[0], given.inputs, given.seed, given.keep)))
        return 0
    from tests.fuzz.targets import TARGETS

    names = given.only or list(TARGETS)
    totals, bad = Counter[str](), False
    for name, count in shares(names, given.inputs).items():
        words = [sys.executable, "-m", "tests.fuzz.campaign", "--child", "--only", name, "--inputs", str(count)]
        words += ["--seed", str(given.seed), "--keep", str(given.keep)]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, env=os.environ)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if done.returncode == 0 and lines else {"target": name, "ended": done.returncode}
        if "ended" in found:
            found["said"] = done.stderr[-1500:]
        bad |= bool(found.get("failed") or "ended" in found)
        totals.update({key: found.get(key, 0) for key in ("read", "refused", "failed")})
        print(json.dumps(found, indent=1 if found.get("failures") or "ended" in found else None), flush=True)
    print(json.dumps(totals))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
