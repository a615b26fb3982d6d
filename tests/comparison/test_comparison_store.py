"""Runs of a comparison on disk."""

from pathlib import Path

import numpy as np
import pytest

from erde_nas.comparison.store import load_trained, save_trained
from erde_nas.errors import UserError

LOGITS = np.arange(12, dtype=np.float32).reshape(1, 4, 3)


def test_a_run_comes_back_and_a_folder_without_its_record_is_no_run(tmp_path: Path) -> None:
    assert load_trained(tmp_path, "kd", 3) is None
    save_trained(tmp_path, LOGITS, LOGITS + 1, {"macs_per_exit": [7]})
    run = load_trained(tmp_path, "kd", 3)
    assert run is not None
    assert (run.loss, run.seed, run.macs_per_exit) == ("kd", 3, (7,))
    assert (run.validation == LOGITS).all()
    assert (run.test == LOGITS + 1).all()


@pytest.mark.parametrize("left", [0, 40])
def test_a_truncated_run_is_one_clear_error(tmp_path: Path, left: int) -> None:
    save_trained(tmp_path, LOGITS, LOGITS, {"macs_per_exit": [7]})
    path = tmp_path / "logits.npz"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"is damaged .*; remove that folder and run again"):
        load_trained(tmp_path, "kd", 0)
