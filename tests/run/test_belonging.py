"""A run folder whose parts come from different runs: what does not fit is named, set aside, and never used."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.weights import load_network, recorded_digest, save_network, save_weights
from erde_nas.run.belonging import set_aside_strays, strays
from erde_nas.run.folder import RunStore
from erde_nas.run.students import RungResult
from tests.run.test_folder import opened, trial, with_study
from tests.space.builders import ARCH, findings, judged


def network(seed: int) -> EarlyExitNetwork:
    torch.manual_seed(seed)
    return EarlyExitNetwork(ARCH, [0.5], [0.25])


def keep(store: RunStore, name: str, seed: int, **known: object) -> None:
    """A student as the stages keep it: weights first, then what is known of it, with their digest."""
    save_network(network(seed), store.student(name))
    store.update_student(name, weights=recorded_digest(store.student(name) / "weights.safetensors"), **known)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    """Candidates a (finished, pruned to a-p50, which lost an exit as a-p50-x0) and b (searched), and their trials."""
    with opened(tmp_path / "run") as store:
        for number, name in enumerate("ab"):
            found = findings(judged(params=number))
            keep(store, name, number, stage="searched", searched=found)
            with_study(store).add(trial(number, student=name, findings=found))
        save_weights(network(0), store.student("a") / "brief.safetensors")
        save_weights(network(10), store.student("a") / "rung0.safetensors")
        done = RungResult(1, 0.9, (0.1,), (), recorded_digest(store.student("a") / "rung0.safetensors"))
        keep(store, "a", 10, stage="finished", rungs=(done,))
        for name, parent, seed in (("a-p50", "a", 20), ("a-p50-x0", "a-p50", 30)):
            made_of = recorded_digest(store.student(parent) / "weights.safetensors")
            keep(store, name, seed, stage="pruned", parent=parent, origin="a", made_of=made_of, used_exits=(0,))
        yield store


def test_a_whole_run_is_left_as_it_is(store: RunStore) -> None:
    said: list[str] = []
    set_aside_strays(store, said.append)
    assert said == []
    assert set(store.records()) == {"a", "b", "a-p50", "a-p50-x0"}


@pytest.mark.parametrize("empty", [True, False])
def test_a_lost_study_leaves_no_student(store: RunStore, empty: bool) -> None:
    store.close()
    (store.folder / "study.db").unlink()
    if empty:
        (store.folder / "study.db").touch()
    weights = {name: (store.student(name) / "weights.safetensors").read_bytes() for name in store.records()}
    said: list[str] = []
    set_aside_strays(with_study(store), said.append)
    assert store.records() == {}
    assert said[0] == "students/a does not belong to the rest of the run: the study holds no finished trial of it"
    assert said[-1].startswith("4 students are set aside in ")
    for name, content in weights.items():
        assert (store.folder / "set-aside" / "students" / name / "weights.safetensors").read_bytes() == content


def test_a_study_of_another_training_of_the_same_student(store: RunStore) -> None:
    store.update_student("b", searched=findings(judged(params=77)))
    assert strays(store) == {"b": "its trial in the study is of another training"}


@pytest.mark.parametrize("how", ["missing", "cut", "swapped", "flipped", "without a digest"])
def test_weights_that_are_not_those_of_the_record(store: RunStore, how: str) -> None:
    """And what was made of them goes with them."""
    path = store.student("a") / "weights.safetensors"
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif how == "swapped":
        save_weights(network(99), path)
    elif how == "flipped":
        content = bytearray(path.read_bytes())
        content[-1] ^= 0x80
        path.write_bytes(content)
    else:
        save_file({name: -tensor for name, tensor in load_file(path).items()}, path)
    found = strays(store)
    assert set(found) == {"a", "a-p50", "a-p50-x0"}
    assert "weights.safetensors" in found["a"]
    assert found["a-p50"] == "a, of which it was made, is not there or does not fit itself"


def test_a_parent_with_other_weights(store: RunStore) -> None:
    keep(store, "a", 11)  # as if it were finished anew
    assert strays(store) == {
        "a-p50": "it was made of other weights of a",
        "a-p50-x0": "a-p50, of which it was made, is not there or does not fit itself",
    }


def test_one_with_fewer_exits_is_made_again(store: RunStore) -> None:
    (store.student("a-p50-x0") / "weights.safetensors").unlink()
    set_aside_strays(store, lambda text: None)
    assert set(store.records()) == {"a", "b", "a-p50"}
    parent = store.record("a-p50")
    assert parent is not None
    assert parent.used_exits is None, "it is looked at again"


def test_killed_while_the_last_weights_were_written(store: RunStore) -> None:
    """The record still tells of the brief training, whose weights lie beside the new ones."""
    save_weights(network(1), store.student("b") / "brief.safetensors")
    save_weights(network(40), store.student("b") / "weights.safetensors")
    assert strays(store) == {}


def test_a_rung_whose_weights_are_gone(store: RunStore) -> None:
    store.update_student("b", rungs=(RungResult(1, 0.5, (0.5,), (), "abc"),))
    assert strays(store) == {"b": "rung0.safetensors is missing"}


def test_runs_of_earlier_versions_have_no_digests(store: RunStore) -> None:
    for name, record in store.records().items():
        path = store.student(name) / "weights.safetensors"
        save_file(load_file(path), path)
        store.update_student(
            name, weights="", made_of="", rungs=tuple(RungResult(1, 0.9, (0.1,)) for _ in record.rungs)
        )
    assert strays(store) == {}


def test_what_is_set_aside_twice_stays_twice(store: RunStore) -> None:
    for seed in (1, 2):
        keep(store, "c", seed, stage="searched", searched=findings(judged(params=5)))
        set_aside_strays(store, lambda text: None)
    aside = store.folder / "set-aside" / "students"
    first, second = (load_network(aside / name / "weights.safetensors") for name in ("c", "c.2"))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
