"""erde-nas search with `evaluator: supernet`: interrupted in its training, completed, and what comes of it."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

SECTION = """evaluator: supernet}
supernet: {train: {epochs: 3, batch_size: 20, learning_rate: 0.05}, random: 1}
"""


@pytest.fixture
def one_shot(tiny, tmp_path):
    """The tiny recipe with a supernet, two students in the shortlist and nothing pruned."""
    changed = tiny.variant(tmp_path / "a", "population: 2}", f"population: 2, {SECTION.strip()}")
    changed = changed.variant(tmp_path / "b", "prune: [0.5]", "prune: []").variant(tmp_path / "c", "int8", "fp32")
    return changed.variant(tmp_path / "d", "students: 1", "students: 3")


def epochs(out) -> int:
    with safe_open(out / "supernet" / "resnet.safetensors", "pt") as file:
        return int(file.metadata()["epochs"])


@pytest.mark.slow
@pytest.mark.usefixtures("finished")  # the teacher is in the cache then
def test_an_interrupted_supernet_is_continued_and_its_slices_are_finished(
    cli, one_shot, tmp_path, calibrated, monkeypatch
):
    from erde_nas.distil.training import together
    from erde_nas.searching.supernet import train

    out, save, trained = tmp_path / "run", train.save, []

    def interrupted(path, checkpoint):
        save(path, checkpoint)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "save", interrupted)
        assert cli(*one_shot.search(out)).code == 130
    assert epochs(out) == 1
    whole = together.train
    monkeypatch.setattr(together, "train", lambda *a, **more: trained.append(1) or whole(*a, **more))
    done = cli(*one_shot.search(out))
    assert done.code == 0, done.err
    assert epochs(out) == 3
    assert len(trained) == 6, "three students on two rungs; no candidate was trained by itself"
    context = load_file(out / "supernet" / "resnet.safetensors")
    assert not any(name.startswith("momentum.") for name in context)
    report = json.loads((out / "pareto.json").read_text())
    assert len(report["searched"]) == 3
    for path in (out / "students").glob("*/brief.safetensors"):
        stem = load_file(path)["segments.0.body.1.0.weight"]
        assert torch.equal(stem, context["stem.0.weight"][: len(stem)]), "the finished student began as a slice"
        assert not torch.equal(stem, load_file(path.with_name("weights.safetensors"))["segments.0.body.1.0.weight"])
    assert "Kendall" in (out / "report.md").read_text() or report["rank_correlation"] is None

    trained.clear()
    checked = one_shot.variant(tmp_path / "e", "population: 2,", "population: 2, rank_check: 3,")
    done = cli(*checked.search(out))
    assert done.code == 0, done.err
    assert len(trained) == 6, "each candidate briefly and fully"
    found = json.loads((out / "pareto.json").read_text())["rank_check"]["candidates"]
    assert all(row.keys() == {"student", "one_shot", "brief", "full"} for row in found)
