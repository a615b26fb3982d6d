"""An exit rule that says one thing in numpy and another in ONNX is refused before a search begins."""

from dataclasses import replace

import pytest

from erde_nas.device.exit_rules import MARGIN, MAX_PROB, exit_rule
from erde_nas.errors import UserError
from erde_nas.onnx_files.rule_check import check_rule
from erde_nas.registry import EXIT_RULES
from tests.exit_rules import FITTED, SO_FAR


@pytest.mark.parametrize("rule", [*map(exit_rule, EXIT_RULES), SO_FAR, FITTED], ids=lambda rule: rule.record)
def test_a_rule_that_agrees_with_itself_passes(rule):
    check_rule(rule)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"graph": MARGIN.graph}, r"gives \[.*\] in ONNX for logits of which its function says"),
        ({"single": MARGIN.graph}, r"gives \[.*\] in ONNX for logits of which its function says"),
        ({"graph": "x (float[n, c] logits) => (float[n, c] y) { y = Softmax <axis = -1> (logits) }"}, "in ONNX"),
        (
            {"graph": "x (float[n, c] logits) => (float[n] y) { y = Smooth (logits) }"},
            "cannot be run: .*Smooth",
        ),
        ({"graph": "no graph"}, "has a graph that cannot be run"),
        ({"score": lambda so_far: -so_far[-1].max(-1)}, "must give 32 scores of at least 0"),
    ],
)
def test_one_that_does_not_is_one_error(changes, text):
    with pytest.raises(UserError, match=rf"the exit rule 'odd' .*{text}"):
        check_rule(replace(MAX_PROB, name="odd", **changes))
