"""Whether an exit rule of another package says the same in numpy and in ONNX, before anything is trained for it."""

import numpy as np
from onnx import TensorProto, helper

from erde_nas.device.agent.refusal import short
from erde_nas.device.exit_rules import ExitRule, exit_rule
from erde_nas.device.runtimes.onnxruntime import FATAL, open_session
from erde_nas.errors import UserError
from erde_nas.networks.operating_points import scores
from erde_nas.onnx_files.rule_nodes import rule_nodes
from erde_nas.onnx_files.segments import OPSET

EXITS, IMAGES, CLASSES = 3, 32, 10
TOLERANCE = 1e-4  # of a score, at least 1


def check_rule(rule: ExitRule) -> None:
    """Raises UserError where the rule's scores cannot be used, its graphs give others than its function, or what it was
    fitted to cannot be read again."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (EXITS, IMAGES, CLASSES)).astype(np.float32)
    _check_scores(rule, logits)
    if rule.fitting is not None and not rule.parameters:
        fitted = _fitted(rule, logits, np.where(rng.random(IMAGES) < 0.5, logits[-1].argmax(-1), 0))
        _check_scores(fitted, logits)


def _fitted(rule: ExitRule, logits: np.ndarray, labels: np.ndarray) -> ExitRule:
    try:
        fitted = rule.fitted(logits, labels)
        if not fitted.parameters.isprintable() or not fitted.parameters:
            raise ValueError(f"the parameters {fitted.parameters!r} are not one line of text")
        return exit_rule(fitted.record)
    except UserError:
        raise
    except Exception as error:  # whatever it raises
        raise UserError(f"the exit rule '{rule.name}' cannot be fitted: {short(error)}") from error


def _check_scores(rule: ExitRule, logits: np.ndarray) -> None:
    wanted = scores(rule, logits)
    for number, expected in enumerate(wanted):
        for single, count in ((False, IMAGES), (True, 1)):
            try:
                found = _run(rule.graph_at(number, single), list(logits[: number + 1, :count]))
            except Exception as error:  # the parser, ONNX and ONNX Runtime raise many kinds
                raise UserError(
                    f"the exit rule '{rule.name}' has a graph that cannot be run: {short(error)}"
                ) from error
            some = expected[:count]
            if found.size != count or (np.abs(found.reshape(-1) - some) > TOLERANCE * np.maximum(1, some)).any():
                raise UserError(
                    f"the exit rule '{rule.name}' gives {found.reshape(-1)[:3].tolist()} in ONNX for logits of which "
                    f"its function says {some[:3].tolist()}; correct the rule, or choose another with exit_rule"
                )


def _run(text: str, so_far: list[np.ndarray]) -> np.ndarray:
    """The graph on the logits of the exits so far, each (n, classes)."""
    number = len(so_far) - 1
    scored = rule_nodes(text, "rule/", number)
    read = {f"logits{i}": so_far[i] for i in (*(int(name.removeprefix("logits")) for name in scored.earlier), number)}
    graph = helper.make_graph(
        scored.nodes,
        "rule",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape)) for name, value in read.items()],
        [helper.make_tensor_value_info(scored.score, TensorProto.FLOAT, None)],
        scored.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    session = open_session(model.SerializeToString(), threads=1, device="cpu", severity=FATAL)
    return np.asarray(session.run(None, read)[0])
