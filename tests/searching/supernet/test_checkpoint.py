"""The shared weights of a family on disk."""

from pathlib import Path

import pytest
import torch

from erde_nas.errors import UserError
from erde_nas.searching.supernet.checkpoint import Checkpoint, load, save


def test_one_changed_bit_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "resnet.safetensors"
    weights, momenta = {"stem.weight": torch.randn(4, 3)}, {"stem.weight": torch.randn(4, 3)}
    save(path, Checkpoint(weights, momenta, 5))
    found = load(path)
    assert found is not None
    assert found.epochs == 5
    assert torch.equal(found.momenta["stem.weight"], momenta["stem.weight"])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"is damaged \(its weights are not those that were written\); delete it to train"
    ):
        load(path)
