"""Small files that claim to be large, and numbers that nobody means: refused at once, in little memory."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_nas.data import matlab, npz
from erde_nas.data.images import read_image
from erde_nas.data.matlab import read_arrays
from erde_nas.data.npz import read_npz
from erde_nas.device.bundle_runner import RunError
from erde_nas.device.bundle_runner import read_image as read_shipped
from erde_nas.errors import UserError
from erde_nas.networks.arch import MOST_PIXELS
from erde_nas.networks.weights import load_network
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.recipe.shipped import find
from erde_nas.recipe.strict_yaml import check_strict
from tests.fuzz import targets


def test_an_image_of_a_thousand_times_its_size(tmp_path: Path) -> None:
    side = 9000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packer = zlib.compressobj()
    body = b"".join(packer.compress(bytes(side * 3 + 1)) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UserError, match="is 9000x9000, and at most 64,000,000 pixels are decoded; scale it down"):
        read_image(path, channels=3, size=(32, 32))


def test_a_matlab_file_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "MOST_BYTES", 1_000_000)
    packed = zlib.compress(bytes(50_000_000))
    path = tmp_path / "a.mat"
    path.write_bytes(bytes(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match="unpacks to more than 1000000 bytes"):
        read_arrays(path, ("X",))


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("packed", [False, True])
def test_matlab_arrays_are_those_that_scipy_reads(kind: str, packed: bool, tmp_path: Path) -> None:
    from scipy.io import loadmat, savemat

    generator = np.random.default_rng(0)
    wanted = {"X": generator.integers(0, 100, (3, 4, 5)).astype(kind), "y": np.arange(6, dtype=kind), "z": np.eye(2)}
    savemat(tmp_path / "a.mat", wanted, do_compression=packed)
    found, held = read_arrays(tmp_path / "a.mat", ("X", "y"))
    assert held == ["X", "y", "z"]
    oracle = loadmat(tmp_path / "a.mat")
    for name in ("X", "y"):
        assert found[name].dtype == oracle[name].dtype
        np.testing.assert_array_equal(found[name], oracle[name])


def test_an_npz_file_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((1000, 32, 32), np.uint8), labels=np.zeros(1000, int))
    monkeypatch.setattr(npz, "available_bytes", lambda: 500_000)
    with pytest.raises(UserError, match=r"a.npz: unpacks to 1.03 MB, but 500 kB of memory are free"):
        read_npz(DatasetSection(name="npz", path=str(tmp_path / "a.npz")), None)


@pytest.mark.parametrize("held", ["in a zip", "alone"])
def test_an_array_whose_header_lies(held: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 2), np.uint8))
    lie = buffer.getvalue().replace(b"(2, 2), }", b"(10**9,)}" if held == "never" else b"(999999,}")[:128]
    honest = buffer.getvalue().replace(b"'shape': (2, 2), }          ", b"'shape': (99999999, 99999), }")
    for data in (lie, honest):
        if held == "alone":
            (tmp_path / "a.npy").write_bytes(data)
            with pytest.raises(RunError, match="cannot be read as an array"):
                read_shipped(tmp_path / "a.npy", 1, 2)
        else:
            with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
                file.writestr("images.npy", data)
            with pytest.raises(UserError, match=r"cannot be read as an \.npz file"):
                read_npz(DatasetSection(name="npz", path=str(tmp_path / "a.npz")), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100_000}, "images of 100000 pixels"),
        ({"classes": 10**9}, "widths must be from 0 to 1000000, but are 0 to 1000000000"),
        ({"stem": 900_000}, "its weights would take [0-9]+ bytes, but weights.safetensors has [0-9]+"),
    ],
)
def test_a_network_that_its_weights_cannot_be(changes: dict, message: str, tmp_path: Path) -> None:
    assert MOST_PIXELS < 100_000
    (tmp_path / "arch.json").write_text(json.dumps({**targets._arch_value(), **changes}))
    (tmp_path / "weights.safetensors").write_bytes(targets._weights())
    with pytest.raises(UserError, match=message):
        load_network(tmp_path / "weights.safetensors")


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("validation: 0.2", f"validation: 0.2\n  seed: {LONG}", "seed: cannot be read as int"),
        ("validation: 0.2", f"validation: 0.2\n  train_limit: {'9' * 4000}", "less than or equal to 1000000000"),
    ],
)
def test_numbers_of_thousands_of_digits(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = find("search", "digits").read_text().replace("validation: 0.25", "validation: 0.2")
    assert old in text
    path = tmp_path / "r.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "section",
    [
        {"space": {"depths": [[1, 1_000_000_000]], "widths": [[8]]}},
        {"teacher": {"depths": [1, 1_000_000_000], "widths": [8, 8]}},
        {"student": {"depths": [1] * 17, "widths": [8] * 17}},
        {"train": {"epochs": 10**20}},
        {"teacher": {"widths": [8, 8, 80_000_000_000]}},
        {"search": {"hours": 1e300}},
        {"views": {"crop_padding": 100_000}},
    ],
)
def test_sizes_that_nobody_means(section: dict) -> None:
    values = load_recipe(find("search", "digits")).model_dump(mode="json", exclude_unset=True)
    for name, keys in section.items():
        values[name] = {**(values.get(name) or {}), **keys}
    with pytest.raises(UserError, match=r"less than or equal to|at most 16 items"):
        check_strict(values, Recipe, "recipe")


@pytest.mark.parametrize("key", ["threads", "batch_size", "channel_multiple"])
def test_profiles_that_no_machine_has(key: str) -> None:
    with pytest.raises(UserError, match=f"{key}: should be less than or equal to"):
        check_strict({"name": "p", key: 10**12}, HardwareProfile, "profile")


def test_a_photo_may_be_large(tmp_path: Path) -> None:
    Image.new("L", (4000, 3000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", channels=1, size=(8, 8)).shape == (1, 8, 8)


@pytest.mark.parametrize("name", ["../beside.bin", "/etc/passwd", "a/../../b", ""])
def test_weights_outside_the_folder_of_a_model_are_neither_read_nor_written(name: str, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    from erde_nas.measurement.given_file import read_given_file

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=name)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [image], [out], [weight])
    for folder in ("model", "work"):
        (tmp_path / folder).mkdir()
    (tmp_path / "beside.bin").write_bytes(bytes(16))
    (tmp_path / "model" / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert onnx.load(tmp_path / "model" / "m.onnx", load_external_data=False).graph.initializer
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"m\.onnx: it keeps weights in '\S*', outside its own folder"):
        read_given_file(tmp_path / "model" / "m.onnx", tmp_path / "work")
    assert sorted(tmp_path.rglob("*")) == before
