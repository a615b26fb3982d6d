"""Runs of a comparison on disk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erde_nas.comparison.manifest import Manifest, holds_comparison, read_manifest, write_manifest
from erde_nas.comparison.store import TrainingRecord, folder_of, load_trained, save_trained, save_training
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection
from tests.run.damage import damaged

TRAINING = TrainingRecord("kd", {"loss": "kd"}, 3, macs_per_exit=(7,))
LOGITS = np.arange(12, dtype=np.float32).reshape(1, 4, 3)


def test_a_run_comes_back_and_a_folder_without_its_record_is_no_run(tmp_path: Path) -> None:
    assert load_trained(tmp_path, "kd", 3) is None
    save_trained(tmp_path, LOGITS, LOGITS + 1, TRAINING)
    run = load_trained(tmp_path, "kd", 3)
    assert run is not None
    assert (run.loss, run.seed, run.macs_per_exit) == ("kd", 3, (7,))
    assert (run.validation == LOGITS).all()
    assert (run.test == LOGITS + 1).all()


@pytest.mark.parametrize("left", [0, 40])
def test_a_truncated_run_is_one_clear_error(tmp_path: Path, left: int) -> None:
    save_trained(tmp_path, LOGITS, LOGITS, TRAINING)
    path = tmp_path / "logits.npz"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"is damaged .*; remove that folder and run again"):
        load_trained(tmp_path, "kd", 0)


def test_other_logits_in_its_place_are_one_clear_error(tmp_path: Path) -> None:
    save_trained(tmp_path / "a", LOGITS, LOGITS, TRAINING)
    save_trained(tmp_path / "b", LOGITS, -LOGITS, TRAINING)
    (tmp_path / "b" / "logits.npz").replace(tmp_path / "a" / "logits.npz")
    with pytest.raises(UserError, match=r"is damaged \(logits\.npz is not what was written\); remove that folder"):
        load_trained(tmp_path / "a", "kd", 0)


def test_why_a_training_failed_is_kept_and_it_gives_no_student(tmp_path: Path) -> None:
    save_training(tmp_path, replace(TRAINING, failed="the loss became nan"))
    assert load_trained(tmp_path, "kd", 3) is None
    assert json.loads((tmp_path / "run.json").read_text())["failed"] == "the loss became nan"


def test_a_damaged_record_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    save_trained(tmp_path, LOGITS, LOGITS, replace(TRAINING, last_loss=0.5, seconds=1.0))
    path, refused = tmp_path / "run.json", []
    for text in damaged(json.loads(path.read_text())):
        path.write_text(text)
        try:
            load_trained(tmp_path, "kd", 3)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 60
    assert all(line.startswith(f"the run in {tmp_path} is damaged (") and "\n" not in line for line in refused)


def test_a_damaged_manifest_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "student.json").touch()
    manifest = Manifest(1, {"dataset": "abc", "seed": "d"}, Compute("fp32", 1, 0.5), {"ea-kd": {"epochs": 3}})
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    path, refused = tmp_path / "manifest.json", []
    for text in damaged(json.loads(path.read_text())):
        path.write_text(text)
        try:
            read_manifest(tmp_path)
        except UserError as error:
            refused.append(str(error))
        assert holds_comparison(tmp_path), "it is not taken for somebody's folder"
    assert len(refused) > 60
    assert all(line.startswith(f"{path} is ") and "\n" not in line for line in refused)


def test_a_student_that_the_version_before_trained_is_found(tmp_path: Path) -> None:
    """The folders are those that it wrote for the same losses."""
    mld = folder_of(tmp_path, DistilSection(loss="mld"), 0, OptimizerSection(epochs=3))
    assert folder_of(tmp_path, DistilSection(loss="kd"), 1) == tmp_path / "runs" / "kd-4b267c8d46" / "1"
    assert mld == tmp_path / "runs" / "mld-5832a2d3ff" / "0"
