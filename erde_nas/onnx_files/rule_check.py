"""Whether an exit rule of another package says the same in numpy and in ONNX, before anything is trained for it."""

import numpy as np
from onnx import TensorProto, helper

from erde_nas.device.agent.refusal import short
from erde_nas.device.exit_rules import ExitRule
from erde_nas.device.runtimes.onnxruntime import FATAL, open_session
from erde_nas.errors import UserError
from erde_nas.networks.operating_points import scores
from erde_nas.onnx_files.rule_nodes import rule_nodes
from erde_nas.onnx_files.segments import OPSET

IMAGES, CLASSES = 32, 10
TOLERANCE = 1e-4  # of a score, at least 1


def check_rule(rule: ExitRule) -> None:
    """Raises UserError where the rule's scores cannot be used, or its graphs give others than its function."""
    logits = np.random.default_rng(0).normal(0, 3, (IMAGES, CLASSES)).astype(np.float32)
    wanted = scores(rule, np.stack([logits, logits]))[0]
    for text, count in ((rule.graph, IMAGES), (rule.single, 1)):
        if not text:
            continue
        try:
            found = _run(text, logits[:count])
        except Exception as error:  # the parser, ONNX and ONNX Runtime raise many kinds
            raise UserError(f"the exit rule '{rule.name}' has a graph that cannot be run: {short(error)}") from error
        expected = wanted[:count]
        if found.size != count or (np.abs(found.reshape(-1) - expected) > TOLERANCE * np.maximum(1, expected)).any():
            raise UserError(
                f"the exit rule '{rule.name}' gives {found.reshape(-1)[:3].tolist()} in ONNX for logits of which its "
                f"function says {expected[:3].tolist()}; correct the rule, or choose another with exit_rule"
            )


def _run(text: str, logits: np.ndarray) -> np.ndarray:
    """The graph on the logits (n, classes) of a first exit."""
    scored = rule_nodes(text, "rule/", 0)
    graph = helper.make_graph(
        scored.nodes,
        "rule",
        [helper.make_tensor_value_info("logits0", TensorProto.FLOAT, list(logits.shape))],
        [helper.make_tensor_value_info(scored.score, TensorProto.FLOAT, None)],
        scored.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    session = open_session(model.SerializeToString(), threads=1, device="cpu", severity=FATAL)
    return np.asarray(session.run(None, {"logits0": logits})[0])
