"""erde-nas predict: the deployable file answers as the network does."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy

from erde_nas.data.load import load_dataset
from erde_nas.networks.logits import all_logits
from erde_nas.networks.weights import load_network
from erde_nas.onnx_files.nest import thresholds_of
from erde_nas.recipe.images import DatasetSection


@pytest.fixture(scope="module")
def pixels():
    return load_dataset(DatasetSection(name="digits")).test.images[:20]


@pytest.fixture
def pngs(pixels, tmp_path):
    paths = []
    for number, image in enumerate(pixels):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image[0]).save(paths[-1])
    return paths


@pytest.fixture
def model(finished, shortlisted):
    return finished / "students" / shortlisted / "model.onnx"


def test_answers_are_those_of_the_network(cli, model, pixels, pngs):
    done = cli("predict", model, *pngs, "--json")
    assert (done.code, done.err) == (0, "")
    rows = json.loads(done.out)
    thresholds = [*thresholds_of(onnx.load(model)), np.inf]
    logits = all_logits(load_network(model.with_name("weights.safetensors")), pixels)  # (exits, n, classes)
    for number, row in enumerate(rows):
        shares = softmax(logits[:, number].astype(float), axis=-1)
        taken = next(i for i, share in enumerate(shares) if entropy(share) < thresholds[i])
        assert row == {
            "image": str(pngs[number]),
            "class": str(shares[taken].argmax()),
            "probability": pytest.approx(shares[taken].max(), abs=1e-4),
            "exit": taken,
            "entropy": pytest.approx(entropy(shares[taken]), abs=1e-3),
            "logits": pytest.approx(logits[taken, number].tolist(), abs=1e-4),
        }


def test_the_table(cli, model, pngs):
    done = cli("predict", model, *pngs[:2])
    assert (done.code, done.err) == (0, "")
    assert done.out.split("\n")[0].split() == ["image", "class", "probability", "exit", "entropy", "(nats)"]
    assert str(pngs[1]) in done.out


def test_a_model_without_early_exits(cli, finished, pngs):
    done = cli("predict", finished / "teacher" / "no-exits.onnx", pngs[0], "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)[0]["exit"] == 0


def test_images_of_another_size_need_resize(cli, refused, model, tmp_path):
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(photo)
    assert (
        refused("predict", model, photo) == f"{photo} is 40x30, but the student takes 16x16; give --resize to scale it"
    )
    assert cli("predict", model, photo, "--resize").code == 0


def test_damaged_and_missing_images(refused, model, pngs, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(pngs[0].read_bytes()[:30])
    assert f"{damaged}: cannot be read as an image" in refused("predict", model, pngs[0], damaged)
    step = "give image files or a folder with some"
    assert refused("predict", model, tmp_path / "no.png") == f"{tmp_path / 'no.png'} does not exist; {step}"
    (tmp_path / "empty").mkdir()
    assert refused("predict", model, tmp_path / "empty") == f"{tmp_path / 'empty'} holds no images; {step}"


def test_files_that_are_no_student(refused, model, pngs, tmp_path):
    text, cut, foreign = tmp_path / "text.onnx", tmp_path / "cut.onnx", tmp_path / "foreign.onnx"
    text.write_text("not a model")
    cut.write_bytes(model.read_bytes()[:-100])
    identity = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([identity], "g", ends[:1], ends[1:])), foreign)
    for path in (text, cut, foreign):
        assert f"{path} is not a student that erde-nas exported" in refused("predict", path, pngs[0])
    assert "does not exist; give a model.onnx of a run's student" in refused("predict", tmp_path / "no.onnx", pngs[0])
