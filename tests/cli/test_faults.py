"""What a machine may do to a search at work: the whole command, in a process of its own, on a recipe of seconds.

Full and small disks are file systems in memory, which only root may mount, each in a mount namespace of its own.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MAIN = "from erde_nas.cli.app import main\nmain()\n"
CGROUPS = Path("/sys/fs/cgroup/memory") if Path("/sys/fs/cgroup/memory").is_dir() else Path("/sys/fs/cgroup")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("finished")]  # its teacher is in the cache

# The clock jumps back by a day and then ahead by two, again and again, whenever somebody looks at it.
JUMPING = """
import time
whole, looks = time.time, 0
def jumping():
    global looks
    looks += 1
    return whole() + 86400 * (looks % 3 - 1)
time.time = jumping
"""


def mounts() -> bool:
    """Whether a file system can be mounted here."""
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def start(code: str, words: list[str], before: str = "", **environment: str) -> subprocess.Popen:
    """The command after `code`, in a shell that did `before` in a mount namespace of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code + MAIN, *words]
    if before:
        command = ["unshare", "-m", "sh", "-ec", f"{before}\nexec {shlex.join(command)}"]
    known = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=known, start_new_session=True
    )


def ended(child: subprocess.Popen) -> tuple[int, str]:
    _, said = child.communicate(timeout=400)
    return child.returncode, said


def refused(child: subprocess.Popen) -> str:
    """The one message with which it must have ended."""
    code, said = ended(child)
    assert code == 2, said
    assert "Traceback" not in said
    (message,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return message


def whole(out: Path, trials: int) -> None:
    """The run in `out` has so many different candidates, all of them complete, and a report."""
    report = json.loads((out / "pareto.json").read_text())
    assert len({row["student"] for row in report["searched"]}) == len(report["searched"]) == trials
    assert {row["state"] for row in report["searched"]} == {"complete"}
    assert not report["interrupted"]


@pytest.fixture
def quick(tiny, tmp_path):
    """Nothing is pruned or quantized."""
    return tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []").variant(tmp_path / "b", "int8", "fp32")


needs_mounts = pytest.mark.skipif(not mounts(), reason="no file system can be mounted here (that takes root)")


@needs_mounts
@pytest.mark.parametrize("size", ["150k", "400k"])
def test_a_disk_that_fills_up_and_is_enlarged(quick, tmp_path, calibrated, size):
    """What fitted on it is kept: the search goes on from there, as the copy on a larger disk."""
    disk, out = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    small = f"mount -t tmpfs -o size={size} none {disk}"
    keep = f"trap 'cp -a {disk}/run {out}' EXIT"
    command = shlex.join([sys.executable, "-W", "ignore", "-c", calibrated + MAIN, *quick.search(disk / "run")])
    child = subprocess.Popen(
        ["unshare", "-m", "sh", "-ec", f"{small}\n{keep}\n{command}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    message = refused(child)
    assert "No space left on device" in message or "disk is full" in message or "disk I/O error" in message
    assert "free space" in message
    assert (out / "manifest.json").is_file()
    assert not (out / "pareto.json").exists()
    code, said = ended(start(calibrated, quick.search(out)))
    assert code == 0, said
    whole(out, 3)


@needs_mounts
def test_a_full_folder_for_temporary_files(quick, tmp_path, calibrated):
    """It is passed over: Python takes the next of the system's folders, and the search does not notice."""
    full, out = tmp_path / "tmp", tmp_path / "run"
    full.mkdir()
    fill = f"mount -t tmpfs -o size=64k none {full}; dd if=/dev/zero of={full}/fill bs=1k count=64 2>/dev/null || true"
    code, said = ended(start(calibrated, quick.search(out), fill, TMPDIR=str(full)))
    assert code == 0, said
    whole(out, 3)


@needs_mounts
def test_a_home_that_cannot_be_written(quick, tmp_path, calibrated):
    """Nothing is written there where the cache lies elsewhere; where it would lie there, one line says so."""
    home, out = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    locked = f"mount -t tmpfs -o ro none {home}"
    code, said = ended(start(calibrated, quick.search(out), locked, HOME=str(home)))
    assert code == 0, said
    whole(out, 3)
    message = refused(
        start(
            calibrated, quick.search(tmp_path / "other"), locked, HOME=str(home), ERDE_NAS_CACHE="", XDG_CACHE_HOME=""
        )
    )
    assert f"{home}/.cache/erde-nas" in message
    assert "set ERDE_NAS_CACHE to a folder of your own" in message


def test_a_clock_that_jumps(quick, tmp_path, calibrated):
    """Back by a day and ahead by two, whenever it is read."""
    out = tmp_path / "run"
    code, said = ended(start(calibrated + JUMPING, quick.search(out, "--hours", "1", "--trials", "3")))
    assert code == 0, said
    whole(out, 3)
    timings = json.loads((out / "manifest.json").read_text())["timings_s"]
    assert all(0 <= seconds < 1000 for seconds in timings.values())


@contextlib.contextmanager
def memory_group(megabytes: int) -> Iterator[Path]:
    """A control group whose processes have so much memory, all together. Skips the test where none can be made."""
    group, limit = CGROUPS / f"erde-nas-test-{os.getpid()}", "memory.limit_in_bytes"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit = limit if (group / limit).exists() else "memory.max"
        if not (group / limit).exists():
            pytest.skip(f"{CGROUPS} does not limit memory")
        (group / limit).write_text(str(megabytes << 20))
        yield group
    finally:
        with contextlib.suppress(OSError):
            for process in (group / "cgroup.procs").read_text().split():
                os.kill(int(process), signal.SIGKILL)
            time.sleep(0.5)
        group.rmdir()


def test_killed_for_memory_by_the_system(quick, tmp_path, calibrated):
    """It takes more and more after its first candidate, until the system kills it; the same command goes on."""
    out = tmp_path / "run"
    greedy = """
import erde_nas.searching.loop as loop, numpy
whole, held = loop.save_packed, []
def greedy(*args):
    whole(*args)
    while len(list(args[2].parent.iterdir())) > 1:
        held.append(numpy.ones(1 << 22))
loop.save_packed = greedy
"""
    with memory_group(3000) as group:
        join = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        code, said = ended(start(join + calibrated + greedy, quick.search(out)))
        assert code == -signal.SIGKILL, said
        assert "search 1/3: " in said
    code, said = ended(start(calibrated, quick.search(out)))
    assert code == 0, said
    assert "search 1/3" not in said, "it was stored"
    whole(out, 3)
