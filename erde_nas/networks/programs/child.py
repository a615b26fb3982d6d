"""python -m erde_nas.networks.programs.child FILE.pt2 NAME dropout|none FOLDER: its graph and weights, into the folder.

A `.pt2` file may run code of whoever made it while it is read. It does so in this process, which has confined itself
before, and what it leaves are an operator graph in JSON and tensors in safetensors.
"""

import json
import sys
from pathlib import Path
from typing import Any

from erde_nas.errors import UserError
from erde_nas.networks.programs.confine import confine

GRAPH, WEIGHTS, DROPOUT = "graph.json", "weights.safetensors", "dropout"


def leave(path: Path, name: str, dropout: bool, folder: Path, lacks: list[str]) -> None:
    """Read it; what cannot be used is said in GRAPH as well. `lacks`: what this process could not give up."""
    from safetensors.torch import save_file

    from erde_nas.networks.programs.graph_file import dump_graph, dump_value
    from erde_nas.networks.programs.program import EXPORT, describe_program, line_of, read_program
    from erde_nas.progress.quiet import quiet_libraries

    quiet_libraries()
    try:
        loaded = describe_program(read_program(path, name), name, dropout)
        try:
            nodes, tensors = dump_graph(loaded.program.graph)
        except ValueError as error:
            raise UserError(f"{name} cannot be read as a plain graph: {line_of(error)}; {EXPORT}") from error
        program, batch = loaded.program, loaded.program.batch
        found: dict[str, Any] = {
            **{"nodes": nodes, "lacks": lacks, "batch": [batch.least, batch.most], "place": program.place},
            **{"others": dump_value(program.others), "shape": loaded.shape, "remarks": loaded.remarks},
            "faithful": loaded.faithful,
            "dtype": str(loaded.dtype).removeprefix("torch."),
        }
        save_file(tensors, folder / WEIGHTS)
    except UserError as error:
        found = {"error": str(error)}
    (folder / GRAPH).write_text(json.dumps(found))


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[4])
    lacking = confine(target, source.stat().st_size)  # before anything is imported that may start threads
    leave(source, sys.argv[2], sys.argv[3] == DROPOUT, target, lacking)
