"""int8 on x86 without VNNI: 8-bit weights are cut off there, 7-bit ones never; and what is reported is exact."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from erde_nas.device.instructions import EXACT_INT8, ThisCpu, exact_int8, in_words
from erde_nas.device.machine import this_cpu
from erde_nas.device.runtimes.onnxruntime import open_session, run_segments
from erde_nas.onnx_files.quantize import WEIGHT_LIMIT, Quantization, quantize_segments, suited_to
from erde_nas.onnx_files.segments import export_segments
from tests.compression.saturation import LEAST, MOST, convolutions, exact_product, saturating_product
from tests.networks.builders import FAMILIES, build, digits, small_arch

IMAGES = digits()[0]
OLD_X86, VNNI = ThisCpu("x86_64", ("avx2", "avx512f")), ThisCpu("x86_64", ("avx2", "avx_vnni"))
RASPBERRY = ThisCpu("aarch64", ("asimd",))


@pytest.mark.parametrize(("bits", "fits"), [(7, True), (8, False)])
def test_two_products_of_the_largest_numbers(bits, fits):
    limit = WEIGHT_LIMIT[bits]
    sums = [255 * limit * 2, 255 * -limit * 2, 255 * limit - 255 * limit]
    assert all(LEAST <= value <= MOST for value in sums) is fits
    a = np.full((1, 4), 255, np.uint8)
    b = np.array([[limit, -limit, limit]] * 2 + [[limit, -limit, -limit]] * 2, np.int8)
    assert np.array_equal(saturating_product(a, b), exact_product(a, b)) is fits


def test_the_emulation_is_what_a_loop_over_numbers_gives():
    generator = np.random.default_rng(0)
    a = generator.integers(0, 256, (3, 7), dtype=np.uint8)
    b = generator.integers(-127, 128, (7, 2), dtype=np.int8)
    for i in range(3):
        for j in range(2):
            products = [int(a[i, k]) * int(b[k, j]) for k in range(7)] + [0]
            pairs = [max(-32768, min(32767, products[k] + products[k + 1])) for k in range(0, 8, 2)]
            assert saturating_product(a, b)[i, j] == sum(pairs)


def test_this_cpu_multiplies_as_its_instructions_say():
    """The real kernel against the emulation on a CPU without VNNI, and against exact integers on the others."""
    generator = np.random.default_rng(1)
    a = generator.integers(128, 256, (16, 64), dtype=np.uint8)
    b = generator.choice(np.array([-127, 127], np.int8), (64, 32))
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "product",
        [tensor("a", TensorProto.UINT8, a.shape)],
        [tensor("c", TensorProto.INT32, (16, 32))],
        [helper.make_tensor("b", TensorProto.INT8, b.shape, b.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    plain, exact = (open_session(model, threads=1, device="cpu", exact=e).run(None, {"a": a})[0] for e in (False, True))
    assert not np.array_equal(saturating_product(a, b), exact_product(a, b))
    np.testing.assert_array_equal(exact, exact_product(a, b))
    np.testing.assert_array_equal(plain, (exact_product if exact_int8(this_cpu()) else saturating_product)(a, b))


@pytest.fixture(scope="module", params=FAMILIES)
def made(request):
    """The int8 segments of a student by the bits of their weights."""
    segments = export_segments(build(small_arch(request.param, ("gap", "gap"), width=16)))
    return {bits: quantize_segments(segments, IMAGES[:32], Quantization(weight_bits=bits)) for bits in (7, 8)}


def test_8_bit_weights_of_every_family_are_cut_off_and_7_bit_ones_never(made):
    cut = {bits: [] for bits in made}
    for bits, segments in made.items():
        for conv in convolutions(segments, IMAGES[100:104]):
            assert np.abs(conv.weights.astype(int)).max() <= WEIGHT_LIMIT[bits]
            same = np.array_equal(
                saturating_product(conv.patches, conv.weights), exact_product(conv.patches, conv.weights)
            )
            cut[bits].append(not same)
    assert len(cut[7]) == len(cut[8]) >= 2
    assert any(cut[8])
    assert not any(cut[7])


def test_activations_keep_their_8_bits(made):
    for segments in made.values():
        levels = [conv.patches for conv in convolutions(segments, IMAGES[:32])]
        assert max(patches.max() for patches in levels) > 200


def test_what_is_reported_is_exact_on_this_cpu_whatever_it_is(made):
    """7-bit files answer alike in the plain and in the exact way; 8-bit ones are reported in the exact way."""
    seven = [model.SerializeToString() for model in made[7]]
    np.testing.assert_array_equal(run_segments(seven, IMAGES[:200]), run_segments(seven, IMAGES[:200], exact=True))
    eight = [model.SerializeToString() for model in made[8]]
    if exact_int8(this_cpu()):
        exact = run_segments(eight, IMAGES[:200], exact=True)
        np.testing.assert_array_equal(run_segments(eight, IMAGES[:200]), exact)


@pytest.mark.parametrize(
    ("machines", "architectures", "bits", "signed"),
    [
        ([VNNI], (), 8, False),
        ([OLD_X86], (), 7, False),
        ([RASPBERRY], (), 8, True),
        ([RASPBERRY], ("arm64",), 8, True),
        ([VNNI, OLD_X86], (), 7, False),
        ([VNNI, RASPBERRY], (), 8, False),
        ([RASPBERRY, OLD_X86], (), 7, False),
        ([VNNI], ("x86_64",), 8, False),  # a profile that names its own machine's
        ([VNNI], ("AMD64", "x86_64"), 8, False),
        ([VNNI], ("x86_64", "aarch64"), 8, False),
        ([RASPBERRY], ("aarch64", "x86_64"), 7, False),  # which x86, nobody knows
        ([ThisCpu("riscv64", ())], (), 7, False),
        ([ThisCpu("x86_64", ())], (), 7, False),
    ],
)
def test_the_machines_decide_untimed(machines, architectures, bits, signed):
    how = suited_to(machines, architectures)
    assert (how.weight_bits, how.signed) == (bits, signed)
    assert how.instructions == (EXACT_INT8 if bits == 8 else ())


def test_in_words():
    assert in_words(EXACT_INT8) == "AVX-512 VNNI, AVX-VNNI, AMX or ARM"
    assert in_words(()) == "any CPU"
