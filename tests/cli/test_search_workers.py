"""erde-nas search --workers: several processes find what one would, and their accidents are no one's end."""

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import closing

import psutil
import pytest
import torch

from erde_nas.data.dataset import image_shape
from erde_nas.data.load import load_dataset
from erde_nas.distil.task import Task
from erde_nas.distil.training.compute import Compute
from erde_nas.run.folder import RunStore
from erde_nas.searching.workers.shipment import evaluator_of, ship
from erde_nas.searching.workers.work import context_from_cache, evaluator
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal


@pytest.fixture
def quick(tiny, tmp_path):
    """Without pruning and int8."""
    return tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []").variant(tmp_path / "b", "int8", "fp32")


@pytest.mark.slow
@pytest.mark.usefixtures("finished")  # its teacher is in the cache
def test_a_candidate_comes_out_the_same_whoever_trains_it(cli, quick, tmp_path, calibrated, monkeypatch):
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    done = cli(*quick.search(tmp_path / "run", "--workers", "2", "--trials", "3"))
    assert done.code == 0, done.err
    assert "search 3/3: " in done.err
    store = RunStore(tmp_path / "run")
    recipe, profiles = store.recipe(), tuple(store.profiles())
    dataset = load_dataset(recipe.dataset)
    space = Space(recipe.space, image_shape(dataset), 10)
    with closing(store):
        store.open_study(("error", "macs"), space)
        trials = store.trials()
    context = context_from_cache(Task(recipe, profiles, dataset, torch.device("cpu")), Compute("fp32", 1, 0.001))
    shipped = pickle.loads(pickle.dumps(ship(context)))
    assert len(shipped.dataset.test) == 0, "what the report alone reads stays at home"
    assert len({trial.student for trial in trials}) == 3
    folder = store.student(trials[0].student)
    brief = folder / "brief.safetensors"  # where it was on the shortlist and trained on
    stored = (brief if brief.exists() else folder / "weights.safetensors").read_bytes()
    for evaluate in (evaluator(context, space), evaluator_of(shipped, "cpu")):
        again = evaluate(Proposal(trials[0].params))
        assert again.trial.judged.val_accuracy == trials[0].judged.val_accuracy
        assert again.weights == stored


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_workers_of_a_killed_search_end_and_it_goes_on(cli, quick, tmp_path, calibrated, monkeypatch):
    out = tmp_path / "run"
    words = quick.search(out, "--workers", "2", "--trials", "500")
    code = "from erde_nas.cli.app import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", calibrated + code, *words],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    for line in child.stderr:
        if "search 1/500: " in line:
            break
    workers = [
        process for process in psutil.Process(child.pid).children() if "spawn_main" in " ".join(process.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    said = []
    for line in child.stderr:
        said.append(line)
        if "search 4/500: " in line:  # whoever evaluated them: the search went on
            break
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 130, (said, errors)
    assert "Traceback" not in errors
    psutil.wait_procs(workers, timeout=60)
    assert not any(process.is_running() for process in workers)
    report = json.loads((out / "pareto.json").read_text())
    names = [row["student"] for row in report["searched"]]
    assert len(set(names)) == len(names) >= 4
    for row in report["searched"]:
        assert row["state"] == "complete"
        assert (out / "students" / row["student"] / "weights.safetensors").is_file()
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    done = cli(*quick.search(out, "--trials", str(len(names))))
    assert done.code == 0, done.err
    assert "search " not in done.err


def test_no_workers(cli, tiny, tmp_path):
    done = cli(*tiny.search(tmp_path / "run", "--workers", "0"))
    assert done.code == 2
