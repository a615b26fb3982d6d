"""A `.pt2` file -> its program, read by a process that has confined itself (`confine`): reading one may run code of
whoever made it. What comes back is an operator graph and tensors (`graph_file`)."""

import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from erde_nas.device.python_process import command, environment
from erde_nas.errors import UserError
from erde_nas.files import read_json
from erde_nas.networks.programs.child import DROPOUT, GRAPH, WEIGHTS
from erde_nas.networks.programs.confine import SECONDS
from erde_nas.networks.programs.graph_file import load_graph, load_value
from erde_nas.networks.programs.program import EXPORT, Batch, Loaded, Program, what_it_is

NOTICE = (
    "reading a .pt2 file may run code of whoever made it; it was read in a process of its own{}. Take ONNX files or "
    "weights in safetensors from people whom you do not know (SECURITY.md)"
)
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONSAFEPATH",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
)


def load_program(path: Path, name: str = "", dropout: bool = False) -> Loaded:
    """The program in a file, with its dropout layers or without; `name` is what messages call it. Its notice says what
    reading it could not be kept from.

    Raises UserError where it is damaged, takes something else than images, or needs more memory or time than it may.
    """
    with tempfile.TemporaryDirectory(prefix="erde-nas-") as place:
        folder, name = Path(place).resolve(), name or f"teacher {path}"
        _read_there(path, name, dropout, folder)
        try:
            return _made(folder)
        except UserError:
            raise
        except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{name} cannot be read as a plain graph: {reason}; {EXPORT}") from error


def _read_there(path: Path, name: str, dropout: bool, folder: Path) -> None:
    """Let the other process leave its files in `folder`. Raises UserError where it does not."""
    environ = {key: value for key, value in environment().items() if key in KEPT}
    words = command(
        "erde_nas.networks.programs.child", str(path.resolve()), name, DROPOUT if dropout else "none", str(folder)
    )
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
            cwd=folder,
            timeout=2 * SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{name} could not be read within {2 * SECONDS} s; {EXPORT}") from None
    if done.returncode or not (folder / GRAPH).is_file():
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        what = what_it_is(path) or f"the process that read it ended ({last[:200]})"
        raise UserError(f"{name} is not a program that torch.export can load: {what}; {EXPORT}")


def _made(folder: Path) -> Loaded:
    found = read_json(folder / GRAPH)
    if "error" in found:
        raise UserError(found["error"])
    graph = load_graph(found["nodes"], load_file(folder / WEIGHTS))
    least, most = found["batch"]
    others = load_value(found["others"], {})
    program = Program(graph, Batch(least, most), others, found["place"])
    lacks = f", but {' and '.join(found['lacks'])} here" if found["lacks"] else ""
    dtype = getattr(torch, found["dtype"])
    faithful = bool(found["faithful"])
    return Loaded(program, tuple(found["shape"]), dtype, tuple(found["remarks"]), faithful, NOTICE.format(lacks))
