"""`erde-nas distil`: losses compared on one student; it resumes, and bad input is one clear error."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Tiny = Any


@pytest.fixture(scope="module")
def compared(tiny: Tiny, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two losses, two seeds."""
    out = tmp_path_factory.mktemp("compared") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
        done = cli("distil", tiny.recipe, "--loss", "erde", "--loss", "ce", "--seeds", 2, "--out", out)
    assert done.code == 0, done.err
    assert "minus erde" in done.out
    return out


@pytest.fixture(autouse=True)
def cache(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher is trained once for all tests."""
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))


def test_it_writes_tables_a_figure_and_every_run(compared: Path) -> None:
    assert {"distil.json", "distil.md", "distil.csv", "distil.png", "recipe.yaml", "student.json"} <= {
        path.name for path in compared.iterdir()
    }
    rows = list(csv.DictReader((compared / "distil.csv").read_text().splitlines()))
    assert [(row["loss"], row["seed"]) for row in rows] == [("erde", "0"), ("erde", "1"), ("ce", "0"), ("ce", "1")]
    assert rows[0]["accuracy.1"] != rows[1]["accuracy.1"]  # seeds differ
    summary = json.loads((compared / "distil.json").read_text())
    assert summary["dataset"]["name"] == "digits"
    assert len(summary["teacher"]["test_accuracy"]) == 3


def test_it_resumes_and_takes_more_losses_and_seeds(compared: Path, tiny: Tiny, cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.rglob("run.json")}
    done = cli("distil", tiny.recipe, "--loss", "ce", "--loss", "kd:temperature=2", "--seeds", 2, "--out", compared)
    assert done.code == 0, done.err
    after = {path: path.stat().st_mtime_ns for path in compared.rglob("run.json")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2
    assert "minus ce" in done.out


def test_a_damaged_run_is_made_again(compared: Path, tiny: Tiny, cli: Cli) -> None:
    run = next(compared.glob("runs/ce-*/1/run.json"))
    first = _logits(run)
    run.unlink()  # as after kill -9: the logits are there, the record is not
    assert cli("distil", tiny.recipe, "--loss", "ce", "--seeds", 2, "--out", compared).code == 0
    assert (_logits(run) == first).all()  # the same seed trains the same student


def _logits(run: Path) -> np.ndarray:
    with np.load(run.parent / "logits.npz") as arrays:
        return arrays["test"]


def test_a_student_of_a_run(finished: Path, cli: Cli, tmp_path: Path) -> None:
    student = json.loads((finished / "pareto.json").read_text())["points"][0]["student"]
    done = cli("distil", finished, "--student", student, "--loss", "ce", "--seeds", 1, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    arch = json.loads((tmp_path / "out" / "student.json").read_text())
    assert arch == json.loads((finished / "students" / student / "arch.json").read_text())


def test_other_grounds_are_refused(compared: Path, tiny: Tiny, cli: Cli, tmp_path: Path) -> None:
    other = tiny.variant(
        tmp_path / "other", "cascades: false\n  train: {epochs: 2", "cascades: false\n  train: {epochs: 4"
    )
    done = cli("distil", other.recipe, "--loss", "ce", "--seeds", 1, "--out", compared)
    assert done.code == 2
    assert "finish differ" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--loss", "kdd"], "there is no loss 'kdd'"),
        (["--student", "abc"], "--student abc needs the folder of a run"),
        (["--device", "tpu"], "--device must be auto, cpu or cuda"),
    ],
)
def test_mistakes_are_one_clear_error(words: list[str], said: str, tiny: Tiny, cli: Cli, tmp_path: Path) -> None:
    done = cli("distil", tiny.recipe, *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert done.err.count("error:") == 1
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_student_and_a_foreign_folder(finished: Path, tiny: Tiny, cli: Cli, tmp_path: Path) -> None:
    done = cli("distil", finished, "--student", "nobody", "--out", tmp_path / "out")
    assert done.code == 2
    assert "holds no student 'nobody'; it has" in done.err
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    done = cli("distil", tiny.recipe, "--out", tmp_path / "foreign")
    assert done.code == 2
    assert "is not empty (thesis.tex) and holds no comparison" in done.err


PAIR = """\
name: pair
dataset: {name: npz, path: PATH/images.npz, validation: 0.2}
teacher: {model: vgg13, checkpoint: PATH/ckpt_epoch_240.pth}
student: {model: vgg8, exits: last}
distil: {loss: ea-dkd, preset: published, kd_warmup: 0.0}
space: {depths: [[1]], widths: [[8]]}
train: {epochs: 1}
finish: {train: {epochs: 4, batch_size: 8}}
compress: {train: {epochs: 1}}
"""


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A recipe with a published pair on 30 images of 16×16 pixels, and a teacher with random weights."""
    import torch

    from erde_nas.distil.teachers.literature import published_shapes
    from erde_nas.networks.models import MODELS, model_arch

    generator = np.random.default_rng(0)
    labels = np.arange(50) % 2
    images = (generator.integers(0, 100, (50, 3, 16, 16)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images[:30], y_train=labels[:30], x_test=images[30:], y_test=labels[30:])
    arch = model_arch(MODELS["vgg13"], image_shape=(3, 16, 16), classes=2, early=(), head="gap")
    state = {}
    for name, shape in published_shapes(arch).items():
        scale = name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1)
        state[name] = (
            torch.ones(shape) if scale else 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        )
    torch.save({"model": state}, tmp_path / "ckpt_epoch_240.pth")
    (tmp_path / "pair.yaml").write_text(PAIR.replace("PATH", str(tmp_path)))
    return tmp_path / "pair.yaml"


def test_a_preset_is_told_recorded_and_kept_with_its_run(pair: Path, cli: Cli, tmp_path: Path) -> None:
    """Without --loss the recipe's own is trained; another loss has its own weights and training."""
    from erde_nas.recipe.recipe import load_recipe

    out = tmp_path / "out"
    done = cli("distil", pair, "--seeds", 1, "--out", out)
    assert done.code == 0, done.err
    assert "preset published, vgg13 → vgg8, ea-dkd: temperature 4, ce_weight 1" in done.err
    assert "dkd_beta 6" in done.err
    assert "of the recipe itself: distil.kd_warmup, finish.train.batch_size, finish.train.epochs" in done.err
    preset = json.loads((out / "manifest.json").read_text())["presets"]["ea-dkd"]
    assert preset["pair"] == ["vgg13", "vgg8"]
    assert preset["distil"]["dkd_beta"] == 6.0
    assert (preset["train"]["learning_rate"], preset["train"]["nesterov"]) == (0.05, False)
    assert preset["train"]["milestones"] == [2, 3]  # 150, 180 and 210 of 240
    (run,) = out.glob("runs/*/0/run.json")
    details = json.loads(run.read_text())
    assert (details["section"]["temperature"], details["section"]["kd_warmup"]) == (4.0, 0.0)
    assert details["train"]["batch_size"] == 8
    kept = load_recipe(out / "recipe.yaml")  # every value, without the preset
    assert (kept.distil.preset, kept.distil.dkd_beta, kept.finish.train.nesterov) == (None, 6.0, False)
    done = cli("distil", pair, "--loss", "ea-dkd", "--loss", "ea-mld", "--seeds", 1, "--out", out)
    assert done.code == 0, done.err
    assert sorted(json.loads((out / "manifest.json").read_text())["presets"]) == ["ea-dkd", "ea-mld"]
    weights = {}
    for path in out.glob("runs/*/0/run.json"):
        details = json.loads(path.read_text())
        weights[details["loss"]] = details["section"]["kd_weight"]
    assert weights == {"ea-dkd": 1.0, "ea-mld": 0.9}


def test_a_preset_is_no_search_s_and_no_other_loss_s(pair: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("search", pair, "--out", tmp_path / "run")
    assert done.code == 2
    assert "distil.preset belongs to one named student, but a search has many" in done.err
    done = cli("distil", pair, "--loss", "erde", "--out", tmp_path / "out")
    assert done.code == 2
    assert "knows the losses ce, kd, " in done.err
    assert done.err.count("error:") == 1
    assert not (tmp_path / "out").exists()
