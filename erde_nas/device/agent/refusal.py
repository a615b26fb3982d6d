"""What a runtime's exception says, in one line: what matters of ONNX Runtime's, OpenVINO's and PyTorch's messages.

Known refusals are said in plain words, with what to do, and our own errors as they are.
"""

import re

from erde_nas.errors import UserError

MOST = 300  # characters


KNOWN = (
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        r"the file has IR version \1, but the installed onnxruntime takes \2 at most; install a newer onnxruntime, or "
        r"save the file with ir_version \2 or older",
    ),
    (
        r"Opset (\d+) is under development.* support for domain (\S+) is till opset (\d+)",
        r"the file has opset \1 of \2, but the installed onnxruntime takes \3 at most; install a newer onnxruntime, or "
        r"export the file with opset \3 or older",
    ),
    (
        r"(?:Fatal error: )?([\w.]+):(\w+)\(-?\d+\) is not a registered function/op",
        r"onnxruntime does not know the operator \2 of the domain \1; export the file without it: libraries of custom "
        r"operators are not loaded",
    ),
    (
        r"No Op registered for (\w+) with domain_version of (\d+)",
        r"there is no operator \1 in opset \2; export the file again",
    ),
    (
        r"External data path does not exist: \"?([^\"\n]*)\"?",
        r"the file with its weights is missing; put it beside the model: \1",
    ),
    (
        r"External initializer: (\S+) offset: \d+ size to read: (\d+) given file_length: (\d+) are out of bounds",
        r"the file with its weights ends too early, in \1; copy it again",
    ),
    (
        r"(?:Load model from (\S+) failed:.*)?(?:No graph was found in the protobuf|Protobuf parsing failed)",
        r"\1 is no ONNX file, or a damaged one",
    ),
)

NOISE = re.compile(
    r"(Exception from|Check '.*' failed|FrontEnd API failed|Loading input model|Model wasn't fully|Summary:|Details:)"
)
PLACES = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |(Load model from \S+ failed:)|/onnxruntime_src/\S+ .*\) ")


def short(error: BaseException) -> str:
    """One line: known refusals in plain words, others as KIND: MESSAGE without places in the runtime's sources."""
    text = str(error)
    if isinstance(error, UserError):
        return text
    for pattern, words in KNOWN:
        if found := re.search(pattern, text, re.DOTALL):
            return found.expand(words).strip()
    lines = [line.strip() for line in PLACES.sub(r"\1", text).splitlines() if line.strip()]
    told = " ".join([line for line in lines if not NOISE.match(line)] or lines)
    if len(told) > MOST:
        told = f"{told[: MOST * 2 // 3]} ... {told[-MOST // 3 :]}"
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
