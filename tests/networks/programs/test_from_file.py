"""A program is read by a process that gave up what a stranger's code would want, and what comes back is data."""

import json
import subprocess
import sys

import pytest
import torch
from torch import fx, nn

from erde_nas.device.python_process import environment
from erde_nas.errors import UserError
from erde_nas.networks.own.written import dump_network, load_network
from erde_nas.networks.programs.from_file import load_program
from erde_nas.networks.programs.graph_file import dump_graph, load_graph

TRY = """
import json, socket, subprocess, sys
from pathlib import Path
from erde_nas.networks.programs.confine import confine
own, others, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
lacks = confine(own, 0)
done = {}
def attempt(name, what):
    try:
        what()
        done[name] = "done"
    except OSError as error:
        done[name] = type(error).__name__
attempt("own", lambda: (own / "a").write_text("x"))
attempt("write", lambda: (others / "a").write_text("x"))
attempt("change", lambda: (others / "kept").open("a").write("x"))
attempt("remove", lambda: (others / "kept").unlink())
attempt("link", lambda: (others / "b").symlink_to("/"))
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), 2))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)))
attempt("run", lambda: subprocess.run(["/bin/true"], check=True))
print(json.dumps({"lacks": lacks, "done": done}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound memory and time alone")
def test_what_a_confined_process_cannot_do(tmp_path):
    import socket

    own, others = tmp_path / "own", tmp_path / "others"
    for folder in (own, others):
        folder.mkdir()
    (others / "kept").write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = [sys.executable, "-c", TRY, str(own), str(others), str(server.getsockname()[1])]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment())
    found = json.loads(done.stdout)
    refused = {key for key, what in found["done"].items() if what != "done"}
    expected = {"write", "change", "remove", "link", "tcp", "udp", "run"}
    if "files can be written and programs started" in found["lacks"]:
        expected -= {"write", "change", "remove", "link", "run"}
    if "the network is not cut off" in found["lacks"]:
        expected -= {"tcp", "udp"}
    assert expected <= refused
    assert found["done"]["own"] == "done"
    if "write" in expected:
        assert (others / "kept").read_text() == "kept"


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def test_a_program_that_another_process_read_answers_as_the_network(tmp_path):
    network, images = Small().eval(), torch.rand(5, 1, 8, 8)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "a.pt2")
    loaded = load_program(tmp_path / "a.pt2")
    with torch.no_grad():
        torch.testing.assert_close(loaded.program(images)[0], network(images))
    assert "reading a .pt2 file may run code of whoever made it" in loaded.text()
    assert loaded.shape == (1, 8, 8)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_what_is_no_program(tmp_path, content):
    (tmp_path / "a.pt2").write_bytes(content)
    with pytest.raises(UserError, match=r"is not a program that torch\.export can load"):
        load_program(tmp_path / "a.pt2")


@pytest.mark.parametrize(
    ("op", "target"),
    [
        ("call_function", ["operator", "attrgetter"]),
        ("call_function", ["operator", "methodcaller"]),
        ("call_function", ["torch", "load"]),
        ("call_function", ["torch", "hub"]),
        ("call_function", ["ops", "aten.from_file.default"]),
        ("call_function", ["ops", "higher_order.cond.default"]),
        ("call_function", ["os", "system"]),
        ("call_function", ["own", "__import__"]),
        ("call_method", "__reduce__"),
        ("call_module", "x"),
        ("get_attr", "__class__"),
    ],
)
def test_names_that_are_no_operators_on_tensors_are_refused(op, target):
    nodes, tensors = dump_graph(fx.symbolic_trace(nn.Identity()))
    nodes.insert(1, {"op": op, "name": "y", "target": target, "args": {"tuple": []}, "kwargs": {"dict": {}}})
    with pytest.raises((ValueError, KeyError, AttributeError)):
        load_graph(nodes, tensors)


EXECUTES = "open('executed', 'w')"


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"target": f"x={EXECUTES}"}),
        (0, {"target": "class"}),
        (0, {"target": ["x"]}),
        (1, {"target": f'w"), {EXECUTES}, ("'}),
        (1, {"target": "w\\"}),
        (1, {"target": "w\n"}),
        (2, {"kwargs": {"dict": {f"alpha={EXECUTES}, out": None}}}),
        (2, {"name": f"add={EXECUTES};b"}),  # torch.fx makes a name of it
    ],
)
def test_a_name_is_never_more_than_a_name(tmp_path, monkeypatch, number, change):
    """torch.fx writes Python of a graph; what is read of one may put no code into it."""
    monkeypatch.chdir(tmp_path)
    nothing = {"args": {"tuple": []}, "kwargs": {"dict": {}}}
    both = {"tuple": [{"node": "x"}, {"node": "w"}]}
    nodes = [
        {"op": "placeholder", "name": "x", "target": "x", **nothing},
        {"op": "get_attr", "name": "w", "target": "w", "parameter": False, **nothing},
        {"op": "call_function", "name": "add", "target": ["ops", "aten.add.Tensor"], **nothing, "args": both},
        {"op": "output", "name": "output", "target": "output", **nothing, "args": {"tuple": [{"node": "add"}]}},
    ]
    assert load_graph(nodes, {"w": torch.ones(1)})(torch.ones(1)) == 2
    nodes[number] = {**nodes[number], **change}
    if "name" in change:
        nodes[3]["args"] = {"tuple": [{"node": change["name"]}]}
        assert load_graph(nodes, {"w": torch.ones(1)})(torch.ones(1)) == 2
    else:
        with pytest.raises(ValueError, match="is no name of"):
            load_graph(nodes, {"w": torch.ones(1), str(nodes[1]["target"]): torch.ones(1)})
    assert not list(tmp_path.iterdir())


def test_a_written_network_names_modules_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values, numbers = dump_network(fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2))))
    hostile = f'0"), {EXECUTES}, ("'
    values["modules"][hostile] = values["modules"]["0"]
    values["nodes"][1]["target"] = hostile
    with pytest.raises(ValueError, match="is no name of a module"):
        load_network(values, numbers)
    assert not list(tmp_path.iterdir())
