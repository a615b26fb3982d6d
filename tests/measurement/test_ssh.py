"""Profiles with `target: ssh:HOST`, over a real connection to this machine: what works, and everything that may not."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest

from erde_nas.errors import DeviceLost, UserError
from erde_nas.measurement import latency
from erde_nas.measurement import ssh_device as devices
from erde_nas.measurement.detect import describe_machine
from erde_nas.measurement.given_file import read_given_file
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.profiling import profile_files
from erde_nas.measurement.ssh_device import Device
from erde_nas.measurement.target import machine_of, obstacle
from erde_nas.networks.logits import all_logits
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.recipe.profile import HardwareProfile, MeasureSection
from tests.measurement.foreign_files import write
from tests.networks.builders import build, digits, medians, small_arch, write_onnx

IMAGES = digits()[0][:8]
QUICK = MeasureSection(warmup_calls=1, calls_per_block=5, blocks=3, processes=1, stream_images=8, allowance_s=0)
FOREVER = 10**9  # calls

# Kills the SSH server's process of this connection.
CUT = """\
p=$PPID
until case "$(cat /proc/$p/comm)" in sshd*) true;; *) false;; esac; do
  p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status)
done
kill -9 "$p"
"""


def profile(host="device", **changes):
    return HardwareProfile(name="far", target=f"ssh:{host}", python=sys.executable, measure=QUICK).model_copy(
        update=changes
    )


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A small network, its file and its thresholds."""
    network = build(small_arch("mobilenet", ("gap", "gap")))
    thresholds = tuple(medians(network, IMAGES))
    return network, write_onnx(network, list(thresholds), tmp_path_factory.mktemp("student") / "model.onnx"), thresholds


@pytest.fixture
def job(tmp_path):
    """A job's folder for stand-ins of Python, which do not look at it."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "job.json").write_text('{"models": []}')
    return folder


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_student_measured_there(elsewhere, student, batch_size):
    network, path, thresholds = student
    expected = all_logits(network, IMAGES)
    file = Workload("a", DeployableFile(path, network), 2, (thresholds,), expected=expected)
    timing = measure([file], profile(batch_size=batch_size), IMAGES, Effort(2, 3, thorough=True))["a"]
    assert timing.disagreement == ""
    assert min(timing.per_exit) > 0
    assert timing.memory_bytes > 0
    assert "onnxruntime" in timing.versions
    wrong = Workload("a", DeployableFile(path, network), 2, (thresholds,), expected=expected + 1)
    assert "logits differ" in measure([wrong], profile(), IMAGES, Effort(1, 3, thorough=True))["a"].disagreement


def test_the_machine_there_must_match(elsewhere):
    far = profile()
    assert machine_of(far) == describe_machine()
    assert obstacle(far, machine_of(far)) is None
    other = far.model_copy(update={"match": far.match.model_copy(update={"architecture": ("riscv64",)})})
    assert obstacle(other, machine_of(other)).startswith("ssh:device: profile 'far': it is for architecture riscv64")


@pytest.mark.parametrize(
    ("host", "kind", "message"),
    [
        ("stranger", UserError, "host key is not known here; connect once by hand with `ssh -F .*/config stranger`"),
        ("changed", UserError, "its host key is not the known one"),
        (
            "locked",
            UserError,
            "Permission denied.*does not accept your key; ssh-copy-id brings it there, IdentityFile in /.*/config",
        ),
        ("off", DeviceLost, "Connection refused.*nothing listens there"),
        ("nowhere.invalid", DeviceLost, "cannot be reached"),
    ],
)
def test_hosts_that_cannot_be_reached(elsewhere, host, kind, message):
    config = elsewhere.folder / "config"
    if host.endswith("invalid"):
        config = config.with_name("empty")
        config.write_text("")
        os.environ["ERDE_NAS_SSH_CONFIG"] = str(config)
        message = "Could not resolve hostname.*correct `target`, or add a Host nowhere.invalid .* to /.*/empty"
    with pytest.raises(UserError, match=f"ssh:{host} cannot be reached.*{message}") as caught:
        machine_of(profile(host))
    assert caught.type is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [(None, "which does not exist; correct or unset"), ("Nonsense yes\n", "correct /.*/mine$")]
)
def test_a_configuration_that_will_not_do(elsewhere, tmp_path, monkeypatch, text, message):
    mine = tmp_path / "mine"
    monkeypatch.setenv("ERDE_NAS_SSH_CONFIG", str(mine))
    if text is not None:
        mine.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        machine_of(profile())
    assert caught.type is UserError
    assert "~/.ssh/config" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no Python named .*; install it, or give the profile the path of another as `python`"),
        ('exec "$PYTHON" -I -S "$@"', "cannot import numpy there; install the package numpy for it"),
        (
            'exec "$PYTHON" -c "import sys, runpy; sys.version_info = (3, 8, 10); sys.argv = sys.argv[1:]; '
            'runpy.run_path(sys.argv[0], run_name=\'__main__\')" "$@"',
            "is Python 3.8 there, 3.10 or newer is needed; name another with `python`",
        ),
        ("echo Segmentation fault >&2; exit 139", "the agent did not run there in .*/python: Segmentation fault"),
    ],
)
def test_pythons_that_will_not_do(elsewhere, text, message):
    python = "no-such-python" if text is None else elsewhere.python("python", text)
    with pytest.raises(UserError, match=f"^ssh:device: .*{message}") as caught:
        machine_of(profile(python=python))
    assert caught.type is UserError


def test_no_runtime_there(elsewhere):
    """numpy is there, and nothing else."""
    site = elsewhere.folder / "site"
    site.mkdir()
    for path in Path(np.__file__).parents[1].glob("numpy*"):
        (site / path.name).symlink_to(path)
    bare = profile(python=elsewhere.python("bare", f'PYTHONPATH={site} exec "$PYTHON" -S "$@"'))
    reason = obstacle(bare, machine_of(bare))
    assert reason.startswith("ssh:device: profile 'far': ")
    assert f"cannot be imported for {bare.python} there: `{bare.python} -m pip install onnxruntime` there" in reason


def test_the_runtimes_own_words(elsewhere, tmp_path, student):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(UserError, match=r"ssh:device: measuring failed in the runtime of /.* there: .*broken\.onnx"):
        measure([Workload("a", DeployableFile(path), 2)], profile(), IMAGES, Effort(1, 3))


def test_a_classifier_of_another_make_there(elsewhere, tmp_path):
    """With its weights in a file beside it, and one that the runtime there refuses."""
    path = write("batch-1", tmp_path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="sub.bin", size_threshold=0)
    ((row,), _) = profile_files([path], profile(), None)
    assert row.latency.expected_mean > 0
    feed = read_given_file(path, tmp_path).deployable.feed
    with pytest.raises(
        UserError, match=r"ssh:device: measuring failed in the runtime of /.* there: mine: .*float16"
    ) as caught:
        measure(
            [Workload("mine", DeployableFile(write("fp16", tmp_path), feed=feed), 1)],
            profile(),
            np.zeros((2, 3, 16, 16), np.uint8),
            Effort(1, 3),
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("agent_fits", [False, True])
def test_disk_full_there(elsewhere, job, agent_fits):
    elsewhere.limit(400 if agent_fits else 4)
    (job / "large").write_bytes(bytes(400 * 1024 + 1))
    with pytest.raises(UserError, match=r"ssh:full: the disk there is full.*; free some space") as caught:
        Device("ssh:full", sys.executable).run(job, 60)
    assert caught.type is UserError


def test_a_connection_that_is_cut_once_and_always(elsewhere, student):
    """Python there ends its own connection instead of doing the job."""
    _, path, _ = student
    mark = elsewhere.folder / "mark"
    mark.unlink(missing_ok=True)
    cut = f'case "$2" in work) [ -e {mark} ] || {{ touch {mark}\n{CUT}sleep 1; exit 1\n}};; esac; exec "$PYTHON" "$@"'
    timing = measure(
        [Workload("a", DeployableFile(path), 2)], profile(python=elsewhere.python("once", cut)), IMAGES, Effort(1, 3)
    )["a"]
    assert mark.exists()
    assert min(timing.per_exit) > 0

    always = profile(python=elsewhere.python("always", cut.replace(f"[ -e {mark} ]", "false")))
    with pytest.raises(DeviceLost, match="ssh:device: the connection was cut"):
        measure([Workload("a", DeployableFile(path), 2)], always, IMAGES, Effort(1, 3))


def test_a_job_that_takes_too_long(elsewhere, student, monkeypatch):
    _, path, _ = student
    monkeypatch.setattr("erde_nas.measurement.target.START_S", 0)
    slow = profile(measure=QUICK.model_copy(update={"warmup_calls": FOREVER, "timeout_s": 1}))
    with pytest.raises(DeviceLost, match=r"no result within 1 s; raise measure\.timeout_s"):
        measure([Workload("a", DeployableFile(path), 2)], slow, IMAGES, Effort(1, 3))


def test_a_device_that_comes_back_is_waited_for(elsewhere, job, monkeypatch):
    python = elsewhere.python("answer", "cat >/dev/null & echo '{\"models\": {}}'")
    opened = []

    class Restarting(devices.Connection):
        def __init__(self, host):
            opened.append(host)
            if len(opened) < 4:
                raise DeviceLost("restarting")
            super().__init__(host)

    monkeypatch.setattr(devices, "Connection", Restarting)
    with pytest.raises(DeviceLost, match="restarting"):
        Device("ssh:device", python).run(job, 60)
    assert len(opened) == 2
    monkeypatch.setattr(devices, "BACK_S", 60.0)
    patient = Device("ssh:device", python)
    assert patient.run(job, 60) == {"models": {}}
    patient.close()


def test_one_candidate_at_a_time(elsewhere, job):
    log = elsewhere.folder / "turns.log"
    log.unlink(missing_ok=True)
    python = elsewhere.python("turns", f"echo begin >>{log}; sleep 0.2; echo end >>{log}; echo '{{}}'")
    several = [Device("ssh:device", python) for _ in range(3)]
    threads = [threading.Thread(target=one.run, args=(job, 60)) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in several:
        one.close()
    assert log.read_text().split() == ["begin", "end"] * 3


def test_agents_of_several_machines_take_turns(tmp_path):
    code = (
        "from erde_nas.device.agent.elsewhere import wait_for_turn as wait; wait(); print('mine', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {**os.environ, "TMPDIR": str(tmp_path)}}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as first:
        assert first.stdout.readline() == b"mine\n"
        with subprocess.Popen([sys.executable, "-c", code], **pipes) as second:
            os.set_blocking(second.stdout.fileno(), False)
            time.sleep(0.5)
            assert second.stdout.read() is None
            first.kill()
            os.set_blocking(second.stdout.fileno(), True)
            assert second.stdout.readline() == b"mine\n"
            second.kill()


@pytest.fixture
def endless_job(student, tmp_path, monkeypatch):
    """What would be sent to be measured for ever."""

    def keep(profile, job, folder):
        job.write(folder)
        shutil.copytree(folder, tmp_path / "endless")
        raise KeyError

    monkeypatch.setattr(latency, "run_there", keep)
    with pytest.raises(KeyError):
        measure([Workload("a", DeployableFile(student[1]), 2)], profile(), IMAGES, Effort(1, FOREVER))
    return tmp_path / "endless"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_goes_on_there_without_this_side(elsewhere, endless_job, how):
    """Neither after Ctrl+C nor after a death that allows no cleaning up."""
    code = (
        "from erde_nas.measurement.ssh_device import *; "
        f"Device('ssh:device', {sys.executable!r}).run(Path({str(endless_job)!r}), 600)"
    )
    own = {**os.environ, "TMPDIR": str(elsewhere.folder)}
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=own) as search:
        while not list(elsewhere.there.glob("*/job.*/job.json")):
            assert search.poll() is None, search.stderr.read()
            time.sleep(0.02)
        time.sleep(0.5)
        search.send_signal(how)
        search.wait(30)
    assert elsewhere.left() == []
    deadline = time.monotonic() + 20
    while (running := agents(elsewhere)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running == []


def agents(elsewhere):
    """Processes that run an agent of the tests."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(elsewhere.there) in word for word in process.info["cmdline"] or ()):
            found.append(process.info["cmdline"])
    return found


def test_what_a_power_cut_left_is_removed(elsewhere):
    with subprocess.Popen(["true"]) as ended:
        pass
    old, living = (elsewhere.there / f"erde-nas-agent.{pid}.abcdef" for pid in (ended.pid, os.getpid()))
    for folder in (old, living):
        folder.mkdir()
        (folder / "agent.pyz").touch()
    machine_of(profile())
    assert not old.exists()
    assert living.exists()
    (living / "agent.pyz").unlink()
    living.rmdir()


def test_words_of_a_profile_stay_words(elsewhere, tmp_path):
    mark = tmp_path / "mark"
    python = f"-c; touch {mark}; $(touch {mark}) `touch {mark}` ' ; touch {mark} ; ' \" ; touch {mark}"
    with pytest.raises(UserError, match="there is no Python named"):
        Device("ssh:device", python).describe()
    assert not mark.exists()


@pytest.mark.parametrize(
    "target", ["ssh:-oProxyCommand=x", "ssh:", "ssh:a b", "ssh:me@-x", "ssh:a;b", "there", "scp:a"]
)
def test_targets_that_are_none(target):
    with pytest.raises(ValueError, match="target must be here or ssh:HOST with a host as in"):
        HardwareProfile(name="far", target=target)


@pytest.mark.parametrize("target", ["here", "ssh:pi", "ssh:me@pi.local", "ssh:192.168.0.7", "ssh:fe80::1%eth0"])
def test_targets(target):
    assert HardwareProfile(name="far", target=target).elsewhere == (target != "here")


def test_ssh_is_not_installed(monkeypatch, job):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="needs the program ssh; install OpenSSH's client"):
        Device("ssh:device", "python3").run(job, 60)


def test_check_and_profile_on_the_command_line(cli, elsewhere, student, tmp_path):
    (tmp_path / "far.yaml").write_text(profile().model_dump_json())
    done = cli("profiles", "check", tmp_path / "far.yaml")
    assert done.code == 0, done.err
    assert done.out.endswith("profile 'far' is fine, and ssh:device may answer for it\n")
    (tmp_path / "off.yaml").write_text(profile("off").model_dump_json())
    for command in (("profiles", "check"), ("profile", student[1], "--profile")):
        done = cli(*command, tmp_path / "off.yaml")
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ssh:off cannot be reached")
        assert done.err.count("\n") == 1
