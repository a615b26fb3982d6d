"""ONNX Runtime: one image through the nested file, or a batch through its segments."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erde_nas.device.instructions import Cpu
from erde_nas.device.runtimes.compaction import Compacting, Segment, every_exit, segment_of
from erde_nas.device.runtimes.feed import Feed, ForeignModel, read_feed
from erde_nas.device.runtimes.interface import Deployable, Runner, Setting

if TYPE_CHECKING:
    import onnxruntime

PACKAGE = "onnxruntime"
EXTRA = ""
PRECISIONS = ("fp32", "int8")
DEVICES = ("cpu", "cuda")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
OUTPUTS = ["logits", "exit_index"]  # of a nested file; naming them saves about 5 % of a small student's call
PRECISE = "session.x64quantprecision"  # on x86 without VNNI: products of int8 are added without loss, and more slowly
SERIOUS = 3  # ONNX Runtime's log severity "error": it warns about the overridable thresholds otherwise
FATAL = 4  # likewise, where what it logs is raised as well


def import_onnxruntime() -> Any:
    """The package, with its telemetry switched off: some of its builds report the models and devices that they meet."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def unfit(setting: Setting, cpu: Cpu) -> str:
    """Why ONNX Runtime would calculate otherwise there."""
    if setting.precision == "int8" and setting.device != "cpu":
        advice = "use precision: fp32, or device: cpu"
        return f"onnxruntime calculates int8 files in floats on {setting.device}; {advice}"
    return ""


def versions() -> dict[str, str]:
    """The version of ONNX Runtime."""
    return {"onnxruntime": import_onnxruntime().__version__}


def prepare(deployable: Deployable, setting: Setting, folder: Path) -> Sequence[Path]:
    """The nested file itself for one image at a time; its segments for batches. Other makes' files as they are."""
    if deployable.feed is not None:
        return deployable.place(folder)
    if setting.batch_size == 1:
        return [Path(shutil.copyfile(deployable.file, folder / deployable.file.name))]
    return deployable.write_segments(folder)


def load(files: Sequence[str], setting: Setting) -> Runner:
    """A session with `threads` threads per file. Raises RuntimeError without the device's execution provider."""
    provider = setting.provider
    if feed := read_feed(files):
        session = open_session(files[0], threads=setting.threads, device=setting.device, provider=provider)
        return as_foreign(session, feed)
    sessions = [open_session(path, threads=setting.threads, device=setting.device, provider=provider) for path in files]
    if setting.batch_size == 1 and len(sessions) == 1:
        return NestedModel(sessions[0])
    return Compacting([as_segment(session) for session in sessions], setting.rule)


def open_session(
    model: str | bytes,
    *,
    threads: int,
    device: str,
    provider: str | None = None,
    exact: bool = False,
    severity: int = SERIOUS,
) -> "onnxruntime.InferenceSession":
    """A session of the file (or serialized model) with the device's execution provider, or a named one, and the CPU's
    for what that leaves. `exact`: int8 is added without loss on every CPU. Raises RuntimeError where it is absent."""
    onnxruntime = import_onnxruntime()
    provider = provider or PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"onnxruntime has no {provider} here; it has {onnxruntime.get_available_providers()}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = severity
    if exact:
        options.add_session_config_entry(PRECISE, "1")
    return onnxruntime.InferenceSession(model, options, providers=[provider])


@dataclass(frozen=True)
class NestedModel:
    """The nested file: one image at a time."""

    session: "onnxruntime.InferenceSession"

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One image (1, channels, h, w) uint8 -> logits (1, classes), exit index (1,)."""
        feed = {"image": images, "thresholds": thresholds} if len(thresholds) else {"image": images}
        logits, exit_index = self.session.run(OUTPUTS, feed)
        return logits, exit_index


def as_foreign(session: "onnxruntime.InferenceSession", feed: Feed) -> ForeignModel:
    """A session of a classifier of other makes."""
    outputs = [output.name for output in session.get_outputs()]
    return ForeignModel(feed, lambda x: session.run(outputs, {feed.name: x}))


def as_segment(session: "onnxruntime.InferenceSession") -> Segment:
    """A session of one segment as a function of its inputs."""
    names, outputs = ([value.name for value in values] for values in (session.get_inputs(), session.get_outputs()))
    return segment_of(lambda *values: session.run(outputs, dict(zip(names, values, strict=True))), names)


def run_segments(
    segments: Sequence[bytes],
    images: np.ndarray,
    batch_size: int = 256,
    *,
    exact: bool = False,
    severity: int = SERIOUS,
) -> np.ndarray:
    """Serialized segments, images (n, channels, h, w) uint8 -> the logits of every exit (exits, n, classes).

    With all the threads that ONNX Runtime takes by itself. A segment for a fixed batch is run in that. `exact`: as in
    `open_session`.
    """
    sessions = [open_session(segment, threads=0, device="cpu", exact=exact, severity=severity) for segment in segments]
    fixed = sessions[0].get_inputs()[0].shape[0]
    batch_size = fixed if isinstance(fixed, int) else batch_size
    return every_exit([as_segment(session) for session in sessions], images, batch_size)
