"""Classifiers of other makes: what plain ONNX Runtime runs is measured as it stands, the rest gets one clear line."""

import base64

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from erde_nas.device.runtimes.interface import Setting
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.errors import RuntimeRefused, UserError
from erde_nas.measurement.given_file import read_given_file
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.profiling import profile_files
from erde_nas.onnx_files.answers import answers
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.nest import nest, split
from erde_nas.onnx_files.segments import own_names
from erde_nas.recipe.profile import HardwareProfile, MeasureSection
from tests.device.runtimes.test_runtime_contract import installed
from tests.measurement import foreign_files as files
from tests.measurement.foreign_files import FILES, SHAPE, held, model, node, value, weights, write

IMAGES = np.random.default_rng(1).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
EFFORT = MeasureSection(warmup_calls=1, calls_per_block=5, blocks=3, processes=1, stream_images=4, allowance_s=0)
PROFILE = HardwareProfile(name="here", measure=EFFORT)
BATCHES = PROFILE.model_copy(update={"batch_size": 3})
NO_NUMBERS = {"int64-output", "string-label", "random"}  # outputs that are no numbers, or never the same


def plainly(path, x):
    """All outputs of plain ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def numbers(outputs):
    """Their floating values in a row."""
    flat = [list(of[0].values()) if isinstance(of, list) else of for of in outputs]
    return np.concatenate([np.ravel(of) for of in flat if np.asarray(of).dtype.kind == "f"])


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "bf16-output"])
def test_it_is_fed_and_answers_as_in_plain_onnx_runtime(kind, tmp_path):
    path, feed = write(kind, tmp_path), FILES[kind][1]
    outputs = [plainly(path, feed(IMAGES[i : i + 1])) for i in range(len(IMAGES))]
    given = read_given_file(path, tmp_path)
    assert given.deployable.file == path  # as it stands
    assert (given.metadata.thresholds, given.metadata.exit_fractions) == ((), (1.0,))
    assert np.prod(given.metadata.image_shape) == 768
    expected = given.workload(PROFILE, IMAGES, stream=True).expected
    if kind in NO_NUMBERS:
        assert expected is None
    else:
        np.testing.assert_allclose(expected[0], [numbers(of) for of in outputs], rtol=1e-5, atol=1e-6)


def test_bf16_which_numpy_lacks_is_cast(tmp_path):
    nodes = [node("Cast", ["image"], ["x"], to=TensorProto.FLOAT), *FILES["bf16-output"][0]().graph.node]
    nodes[1].input[0] = "x"
    inputs = [value("image", ["n", *SHAPE], TensorProto.BFLOAT16)]
    outputs = [value("answer", ["n", 10], TensorProto.BFLOAT16)]
    onnx.save(model(nodes, inputs, outputs), tmp_path / "bf16.onnx")
    given = read_given_file(tmp_path / "bf16.onnx", tmp_path)
    (found,) = given.workload(PROFILE, IMAGES, stream=True).expected
    wanted = [numbers(plainly(write("plain", tmp_path), files.unit(image[None]))) for image in IMAGES]
    np.testing.assert_allclose(found, wanted, rtol=0.02, atol=0.02)  # 8 bits
    assert np.array_equal(found.view(np.uint32) & 0xFFFF, np.zeros_like(found, np.uint32))  # and no more


ALONE = {"fixed-reshape", "batch-1", "scan", "scalar", "no-batch", "hwc", "one-row", "nhwc-1"}  # one image a call


@pytest.mark.parametrize(
    ("profile", "kinds"), [(PROFILE, list(FILES)), (BATCHES, [*ALONE, "plain", "fp16"])], ids=["one image", "batches"]
)
def test_every_kind_is_measured(profile, kinds, tmp_path):
    said = []
    rows, _ = profile_files([write(kind, tmp_path) for kind in kinds], profile, None, say=said.append)
    assert len(rows) == len(kinds)
    assert all(row.latency.expected_mean > 0 for row in rows)
    precisions = {row.file.rpartition("/")[2].removesuffix(".onnx"): row.latency.precision for row in rows}
    others = {"fp16": "fp16", "fp64": "fp64", "dynamic-int8": "int8", "static-qdq": "int8"}
    assert precisions == {kind: others.get(kind, "fp32") for kind in kinds}
    by_one = {text.rpartition("/")[2].partition(".onnx")[0] for text in said if "one image a call" in text}
    assert by_one == (ALONE if profile is BATCHES else set())


def test_images_are_a_stream_for_other_makes_too(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "images" / f"{number}.png")
    ((row,), _) = profile_files([write("nhwc", tmp_path)], PROFILE, tmp_path / "images")
    assert row.latency.source == "measured"
    assert 0 < row.latency.p50 <= row.latency.p99


def test_a_fixed_batch_of_four_is_filled_up(tmp_path):
    path = tmp_path / "four.onnx"
    onnx.save(files.static_batch(4)(), path)
    given = read_given_file(path, tmp_path)
    (row,) = given.workload(PROFILE, IMAGES[:1], stream=False).expected[0]
    (logits,) = plainly(path, files.unit(np.repeat(IMAGES[:1], 4, axis=0)))
    np.testing.assert_allclose(row, logits.ravel(), rtol=1e-5)
    assert "4 images a call: what is left over costs a whole call" in given.remarks_for(PROFILE)[-1]
    assert given.remarks_for(PROFILE.model_copy(update={"batch_size": 8})) == given.remarks


def test_an_open_size_can_be_given_and_follows_the_other_file(tmp_path):
    nodes = files.BODY
    onnx.save(model(nodes, [value("image", ["n", 3, "h", "w"])]), tmp_path / "open.onnx")
    assert read_given_file(tmp_path / "open.onnx", tmp_path).metadata.image_shape == (3, 224, 224)
    assert read_given_file(tmp_path / "open.onnx", tmp_path, (20, 20)).metadata.image_shape == (3, 20, 20)
    said = []
    profile_files([tmp_path / "open.onnx", write("plain", tmp_path)], PROFILE, None, say=said.append)
    assert any("open.onnx: it leaves the size of its images open: taken as 16x16, --size" in text for text in said)
    with pytest.raises(UserError, match="--size 32 is for a file that leaves the size"):
        profile_files([write("plain", tmp_path)], PROFILE, None, size=32)


@pytest.mark.parametrize(("values", "image"), [(768, (3, 16, 16)), (784, (1, 28, 28)), (50, (2, 5, 5)), (7, (1, 1, 7))])
def test_flattened_images_are_square_where_they_can_be(values, image, tmp_path):
    nodes, tensors = [node("MatMul", ["x", "v"], ["logits"])], [files.noise("v", values, 10)]
    onnx.save(model(nodes, [value("x", ["n", values])], tensors=tensors), tmp_path / "flat.onnx")
    assert read_given_file(tmp_path / "flat.onnx", tmp_path).metadata.image_shape == image


def test_what_is_no_classifier_is_timed_and_named(tmp_path):
    (_, remark) = read_given_file(write("whole-image", tmp_path), tmp_path).remarks
    assert "none of its outputs looks like scores of classes, 'r' [1, 8, 8, 8]" in remark


def with_weights_beside(folder):
    path = write("plain", folder)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="sub.bin", size_threshold=0)
    return path


def test_weights_beside_the_file(tmp_path):
    ((row,), _) = profile_files([with_weights_beside(tmp_path)], PROFILE, None)
    assert row.latency.expected_mean > 0


def missing_weights(folder):
    path = with_weights_beside(folder)
    (folder / "sub.bin").unlink()
    return path


def cut_weights(folder):
    path = with_weights_beside(folder)
    (folder / "sub.bin").write_bytes(bytes(10))
    return path


def saved(*words, **more):
    def make(folder):
        onnx.save(model(*words, **more), folder / "other.onnx")
        return folder / "other.onnx"

    return make


def content(data):
    def make(folder):
        (folder / "other.onnx").write_bytes(data)
        return folder / "other.onnx"

    return make


CUSTOM = [files.conv("image"), node("Mish2", ["c"], ["r"], domain="my.ops"), *files.tail("r")]
TWO = [*files.PLAIN, value("ages", ["n", 4])]
JOINED = [
    *files.tail("c")[:2],
    node("Concat", ["logits/f", "ages"], ["all"], axis=1),
    node("MatMul", ["all", "u"], ["y"]),
]
SIDE = saved([files.conv("image"), *JOINED], TWO, [value("y", ["n", 10])], [weights()[0], files.noise("u", 12, 10)])
ECHO = [node("Identity", ["image"], ["logits"])]
WORDS = value("image", ["n"], TensorProto.STRING), value("logits", ["n"], TensorProto.STRING)
VIDEO = value("image", ["n", 3, 4, 8, 8]), value("logits", ["n", 3, 4, 8, 8])
REFUSED = {
    "newer IR": (saved(ir=99), r"IR version 99, but the installed onnxruntime takes \d+ at most; install a newer"),
    "newer opset": (saved(opset=99), r"opset 99 of ai\.onnx, but the installed onnxruntime takes \d+ at most"),
    "custom operator": (saved(CUSTOM, domains=["my.ops"]), r"does not know the operator Mish2 of the domain my\.ops"),
    "no operator": (saved([*files.BODY[:-1], node("Nope", ["logits/f"], ["logits"])]), "no operator Nope in opset 17"),
    "no weights": (missing_weights, r"the file with its weights is missing; put it beside the model: .*sub\.bin"),
    "cut weights": (cut_weights, "the file with its weights ends too early"),
    "empty": (content(b""), "is empty; copy or export it again"),
    "pointer": (content(b"version https://git-lfs.github.com/spec/v1\n"), "is a pointer of Git LFS"),
    "text": (content(b"not a model " * 20), "is no ONNX file, or a damaged one"),
    "cut": (content(model().SerializeToString()[:-100]), "is no ONNX file, or a damaged one"),
    "two inputs": (SIDE, r"one input, the images, but has 2: 'image' .*'ages' .*export it with the images"),
    "no input": (saved([node("Identity", ["v"], ["logits"])], []), "one input, the images, but has 0: none"),
    "text input": (saved(ECHO, WORDS[:1], WORDS[1:]), r"must be pixels, .* tensor\(str"),
    "video": (saved(ECHO, VIDEO[:1], VIDEO[1:]), r"must be pixels, .*\['n', 3, 4, 8, 8\]"),
    "wrong inside": (saved(files.BODY, [value("image", ["n", 5, 8, 8])]), "runs it on no images .*'image'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_onnx_runtime_does_not_run_gets_one_line(kind, tmp_path):
    make, message = REFUSED[kind]
    path = make(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read_given_file(path, tmp_path).workload(PROFILE, IMAGES, stream=False)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


OPENVINO = [
    "fixed-reshape",
    "route",
    "local-function",
    "fp16",
    "int64-input",
    "bf16-output",
    "auxiliary-heads",
    "nhwc",
    "no-rank",
]


@pytest.mark.extra
def test_openvino_runs_them_too_or_says_in_one_line_why_not(tmp_path):
    installed("openvino")
    profile = PROFILE.model_copy(update={"runtime": "openvino"})
    rows, _ = profile_files([write(kind, tmp_path) for kind in OPENVINO], profile, None)
    assert all(row.latency.expected_mean > 0 and row.latency.runtime == "openvino" for row in rows)
    with pytest.raises(RuntimeRefused, match=r"zip-map\.onnx: .*probabilities") as caught:
        profile_files([write("zip-map", tmp_path)], profile, None)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_file_says_which_to_give(tmp_path):
    file = write("plain", tmp_path)
    with pytest.raises(UserError, match=f"is a folder with 1 model file; give one of them: {file}"):
        read_given_file(tmp_path, tmp_path)


def test_pytorch_wants_weights(tmp_path):
    with pytest.raises(UserError, match=r"starts from a student's weights, but got only plain\.onnx"):
        profile_files([write("plain", tmp_path)], PROFILE.model_copy(update={"runtime": "torch"}), None)


def test_a_failure_in_the_measuring_process_names_the_file(tmp_path):
    feed = read_given_file(write("plain", tmp_path), tmp_path).deployable.feed
    broken = Workload("mine", DeployableFile(write("fp16", tmp_path), feed=feed), 1)  # fp32 for a file that takes fp16
    with pytest.raises(RuntimeRefused, match=r"mine: InvalidArgument: .*tensor\(float16\)") as caught:
        measure([broken], PROFILE, IMAGES, Effort(1, 3))
    assert "\n" not in str(caught.value)


def test_a_runtime_that_refuses_in_this_process_says_so_in_one_line(tmp_path):
    setting, file = Setting(), tmp_path / "broken.onnx"
    file.write_bytes(b"no model")
    with pytest.raises(
        RuntimeRefused, match=r"onnxruntime does not run broken\.onnx: .* is no ONNX file, or a damaged"
    ):
        answers("onnxruntime", DeployableFile(file), setting, IMAGES, 1)


def test_an_if_of_a_network_of_our_own_stays_in_its_segment():
    """It is no exit, and its branch keeps the weights of the graph around it."""
    made = own_names(files.own_if("route")(), "s0/")
    for old, new in (("image", "image"), ("logits", "logits0")):
        for nodes in made.graph.node:
            nodes.input[:] = [new if name == old else name for name in nodes.input]
            nodes.output[:] = [new if name == old else name for name in nodes.output]
    made.graph.output[0].name = "logits0"
    (segment,) = split(nest([made], []))
    x = files.unit(IMAGES[:1])
    plain = onnxruntime.InferenceSession(
        files.own_if("route")().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_array_equal(run_segments([segment.SerializeToString()], x)[0], plain.run(None, {"image": x})[0])


def test_int8_and_types_are_read_from_branches_as_well():
    from erde_nas.onnx_files.foreign import precision_of

    inner = files.branch("b", [node("QuantizeLinear", ["c", "s", "z"], ["q"])])
    nodes = [files.conv("image"), node("If", ["on"], ["q"], then_branch=inner, else_branch=inner)]
    tensors = [weights()[0], held("s", 0.1), held("z", 0, np.uint8), held("on", True, bool)]
    assert precision_of(model(nodes, tensors=tensors)) == "int8"
    assert precision_of(helper.make_model(helper.make_graph([], "none", [], []))) == "fp32"


def test_answers_of_another_number_or_without_end_are_seen():
    from erde_nas.measurement.agreement import disagreement

    expected = np.array([[[1.0, np.inf, 3.0]]], np.float32)
    said = [base64.b64encode(np.array(of, "<f4").tobytes()).decode() for of in ([1, 9, 3], [1, 9], [np.nan, 9, 3])]
    assert disagreement(said[0], expected, "fp32") == ""
    assert "gives 2 values" in disagreement(said[1], expected, "fp32")
    assert "not finite" in disagreement(said[2], expected, "fp32")
