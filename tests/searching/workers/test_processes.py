"""Worker processes: their answers, their deaths, their end. What they evaluate here is a sum, or an accident."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from erde_nas.device.machine import usable_cores
from erde_nas.errors import UserError
from erde_nas.searching.workers.binding import Binding, bindings
from erde_nas.searching.workers.inline import InlinePool
from erde_nas.searching.workers.interface import Evaluated
from erde_nas.searching.workers.processes import ProcessPool
from erde_nas.space.trial import Proposal, Trial


def toy(marks: Path):
    """Evaluates params `do`: a number is its own objective, a word is an accident. Leaves a mark per attempt."""

    def evaluate(proposal: Proposal) -> Evaluated:
        do = proposal.params["do"]
        (marks / f"{do}-{os.getpid()}").write_text(" ".join(map(str, usable_cores())))
        if do == "die" or (do == "die once" and len(list(marks.glob("die once-*"))) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "wrong":
            raise UserError("the runtime cannot run here")
        if do == "bug":
            raise ZeroDivisionError("a bug")
        if do == "hang":
            time.sleep(600)
        value = float(do) if isinstance(do, int) else -1.0
        trial = Trial(0, str(do), proposal.params, "complete", (value,), attrs=proposal.attrs)
        return Evaluated(trial, bytes(3_000_000))

    return evaluate


def unable():
    raise UserError("no data here")


def doomed():
    os._exit(7)


def proposal(do) -> Proposal:
    return Proposal({"do": do}, {"generation": 1})


def pool_of(workers: int, factory) -> ProcessPool:
    return ProcessPool(factory, bindings(workers, usable_cores(), []))


def wait_for(pool, count: int) -> list[Evaluated]:
    return [done for _ in range(count) if (done := pool.next(60.0))]


def test_all_pools_answer_alike(tmp_path):
    def answers(pool):
        found = []
        with pool:
            for start in range(0, 6, pool.size):
                for number in range(start, start + pool.size):
                    pool.submit(proposal(number), str(number))
                assert pool.busy == pool.size
                found += wait_for(pool, pool.size)
            assert pool.busy == 0
            assert pool.next(0.01) is None
        return sorted(found, key=lambda done: done.trial.student)

    inline = answers(InlinePool(toy(tmp_path)))
    assert [done.trial.objectives for done in inline] == [(float(number),) for number in range(6)]
    assert answers(pool_of(2, partial(toy, tmp_path))) == inline
    assert len({path.name.split("-")[1] for path in tmp_path.iterdir()}) == 3, "this process and two workers"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes")
def test_a_worker_keeps_to_its_cores(tmp_path):
    core = usable_cores()[-1]
    with ProcessPool(partial(toy, tmp_path), [Binding((core,))]) as pool:
        pool.submit(proposal(1), "1")
        wait_for(pool, 1)
    (mark,) = tmp_path.iterdir()
    assert mark.read_text() == str(core)


def test_a_dead_workers_candidate_is_tried_once_more(tmp_path):
    with pool_of(2, partial(toy, tmp_path)) as pool:
        for do in ("die once", 5):
            pool.submit(proposal(do), f"student {do}")
        first = {done.trial.student: done.trial for done in wait_for(pool, 2)}
        assert {trial.state for trial in first.values()} == {"complete"}
        pool.submit(proposal("die"), "student die")
        (last,) = wait_for(pool, 1)
        pool.submit(proposal(6), "student 6")
        assert wait_for(pool, 1)[0].trial.objectives == (6.0,), "the pool goes on"
    assert len(list(tmp_path.glob("die once-*"))) == 2
    assert len(list(tmp_path.glob("die-*"))) == 2
    assert last.weights is None
    expected = Trial(0, "student die", {"do": "die"}, "failed", attrs={"generation": 1}, reason=last.trial.reason)
    assert last.trial == expected
    assert last.trial.reason == "its worker died in 2 attempts, the last time by SIGKILL (out of memory?)"


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [("wrong", UserError, "^the runtime cannot run here$"), ("bug", RuntimeError, r"(?s)in evaluate\n.*a bug")],
)
def test_what_no_other_candidate_could_mend_ends_the_search(tmp_path, do, kind, message):
    with pool_of(1, partial(toy, tmp_path)) as pool:
        pool.submit(proposal(do), do)
        with pytest.raises(kind, match=message):
            pool.next(60.0)


def test_a_worker_that_cannot_start(tmp_path):
    for factory, message in ((unable, "^no data here$"), (doomed, "died with exit code 7 while it started")):
        with pool_of(1, factory) as pool:
            pool.submit(proposal(1), "1")
            with pytest.raises(UserError, match=message):
                pool.next(60.0)


def test_leaving_stops_what_still_runs(tmp_path):
    with pool_of(2, partial(toy, tmp_path)) as pool:
        for number, do in enumerate(("hang", 3)):
            pool.submit(proposal(do), str(number))
        wait_for(pool, 1)
        while len(list(tmp_path.iterdir())) < 2:
            assert pool.next(0.05) is None
        pids = [int(path.name.split("-")[1]) for path in tmp_path.iterdir()]
        begin = time.monotonic()
    assert time.monotonic() - begin < 30, "a candidate hangs for ten minutes"
    assert not any(psutil.pid_exists(pid) for pid in pids)


SEARCH = """
import sys, time
sys.path.insert(0, {tests!r})
from functools import partial
from pathlib import Path
from test_processes import pool_of, proposal, toy
with pool_of(1, partial(toy, Path({marks!r}))) as pool:
    pool.submit(proposal("hang"), "hang")
    while True:
        pool.next(1.0)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_search(tmp_path, how):
    code = SEARCH.format(tests=str(Path(__file__).parent), marks=str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (found := list(tmp_path.iterdir())):
        assert child.poll() is None
        time.sleep(0.05)
    worker = psutil.Process(int(found[0].name.split("-")[1]))
    if how == signal.SIGINT:
        os.killpg(child.pid, how)  # as a terminal does: workers get it too
    else:
        child.kill()
    _, errors = child.communicate(timeout=60)
    worker.wait(timeout=60)
    assert errors.count("Traceback") <= (how == signal.SIGINT), errors
