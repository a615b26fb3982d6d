"""The comparison of a runtime's logits with those expected."""

import base64

import numpy as np
import pytest

from erde_nas.measurement.agreement import disagreement

EXPECTED = np.random.default_rng(0).normal(0, 4, (2, 5, 3)).astype(np.float32)


def encoded(logits):
    return base64.b64encode(logits.astype("<f4").tobytes()).decode()


def test_the_first_images_are_compared():
    assert disagreement(encoded(EXPECTED[:, :3]), EXPECTED, "fp32") == ""
    assert disagreement(None, EXPECTED, "fp32") == disagreement(encoded(EXPECTED), None, "fp32") == ""


def test_fewer_images_than_a_batch_holds():
    """They are repeated to fill it, so that the runtime answers more often than there are images."""
    filled = EXPECTED[:, np.arange(8) % 5]
    assert disagreement(encoded(filled), EXPECTED, "fp32") == ""
    assert "image 4" in disagreement(encoded(filled + (np.arange(8) == 4)[:, None]), EXPECTED, "fp32")


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-3), ("bf16", 0.1), ("int8", 0.1)])
def test_the_difference_is_relative_to_the_largest_logit_of_the_image(precision, allowed):
    size = np.abs(EXPECTED[1, 2]).max()
    for factor, wrong in ((0.9, False), (1.1, True)):
        found = EXPECTED.copy()
        found[1, 2, 0] += factor * allowed * size
        text = disagreement(encoded(found), EXPECTED, precision)
        assert bool(text) is wrong
        if wrong:
            assert "(exit 1, image 2)" in text
            assert f"{allowed:g} are allowed in {precision}" in text


def test_values_that_are_not_finite():
    found = EXPECTED.copy()
    found[0, 0, 0] = np.nan
    assert "not finite" in disagreement(encoded(found), EXPECTED, "bf16")
