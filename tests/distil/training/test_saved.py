"""A training on the disk: it goes on where it is whole, and begins anew where its tensors are not those written."""

from pathlib import Path

import torch

from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.saved import SavedTraining

COMPUTE = Compute("fp32", 1, 0.5, "contiguous")


def test_it_comes_back_unless_a_bit_has_changed(tmp_path: Path) -> None:
    saved = SavedTraining(tmp_path / "training.safetensors", "key")
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(3, 2), torch.arange(4), torch.tensor(7)]
    saved.save(2, COMPUTE, tensors, generator)
    assert saved.begun() == (2, COMPUTE)
    found = [torch.zeros_like(tensor) for tensor in tensors]
    assert saved.restore_(found, torch.Generator()) == 2
    assert all(torch.equal(a, b) for a, b in zip(found, tensors, strict=True))
    content = bytearray(saved.path.read_bytes())
    content[-1] ^= 1
    saved.path.write_bytes(content)
    untouched = [torch.zeros_like(tensor) for tensor in tensors]
    assert saved.restore_(untouched, torch.Generator()) == 0
    assert not any(tensor.any() for tensor in untouched)
