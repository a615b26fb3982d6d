"""Networks on disk: they come back as they were, and what is wrong with a file is said."""

import json
import re

import pytest
import torch

from erde_nas.errors import UserError
from erde_nas.networks.weights import load_network, save_network
from tests.networks.builders import build, small_arch


@pytest.fixture
def saved(tmp_path):
    """A folder with a network of three exits."""
    save_network(build(small_arch("mobilenet", ("erde", "gap", "conv"))), tmp_path)
    return tmp_path


def change(folder, **changes):
    path = folder / "arch.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("family", ["resnet", "mobilenet"])
def test_a_loaded_network_is_the_saved_one(family, tmp_path):
    network = build(small_arch(family, ("erde", "conv")))
    save_network(network.to(memory_format=torch.channels_last), tmp_path / "new" / "folder")
    loaded = load_network(tmp_path / "new" / "folder" / "weights.safetensors").eval()
    assert loaded.arch == network.arch
    before, after = network.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["arch.json", "weights.safetensors"]


@pytest.mark.parametrize("name", ["arch.json", "weights.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(UserError, match=rf"{re.escape(str(saved / name))} does not exist"):
        load_network(saved / "weights.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_damaged_weights(saved, kept):
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        load_network(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", "\x00\xff"])
def test_a_description_that_is_none(saved, text):
    (saved / "arch.json").write_text(text)
    with pytest.raises(UserError, match=r"arch\.json does not describe an erde-nas network"):
        load_network(saved / "weights.safetensors")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"family": "vit"}, "vit"),
        ({"colour": "red"}, "colour"),
        ({"exits": [], "head_widths": []}, "StopIteration"),
        ({"exits": [{"block": 2, "head": "attention"}], "head_widths": [0]}, "attention"),
        ({"head_widths": [0]}, "zip"),
        ({"stem": -8}, "-8"),
        ({"blocks": [{"width": 8, "hidden": 16, "stride": 0}] * 3}, "zero"),
        ({"image_size": "8"}, "str"),
    ],
)
def test_a_description_that_cannot_be_built(saved, changes, reason):
    change(saved, **changes)
    with pytest.raises(UserError, match=rf"arch\.json does not describe an erde-nas network: .*{reason}"):
        load_network(saved / "weights.safetensors")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stem": 16}, "size mismatch"),
        ({"classes": 11}, "size mismatch .*10.*11"),
        ({"family": "resnet"}, "size mismatch|key"),
        ({"exits": [{"block": 2, "head": "gap"}], "head_widths": [0]}, "size mismatch|key"),
    ],
)
def test_weights_of_another_network(saved, changes, reason):
    change(saved, **changes)
    with pytest.raises(UserError, match=rf"weights\.safetensors does not fit .*arch\.json: .*({reason})"):
        load_network(saved / "weights.safetensors")
