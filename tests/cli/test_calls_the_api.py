"""Each command calls the function of its name and shows what it says; import-linter sees that it calls nothing else."""

import pytest

import erde_nas


@pytest.mark.parametrize(
    ("words", "function", "given", "named"),
    [
        (["search", "mine", "--out", "run", "--trials", "3", "--device", "cpu"], "search", ("mine", "run"),
         {"trials": 3, "device": "cpu", "seed": None, "progress": True}),
        (["report", "run"], "load_run", ("run",), {"so_far": True}),
        (["compare", "a", "b"], "compare", (["a", "b"],), {}),
        (["compress", "run", "--student", "a", "--target", "speedup=2"], "compress", ("run", ["a"]),
         {"target": ["speedup=2"], "profile": None}),
        (["export", "run", "--student", "a", "--to", "folder", "--format", "onnx"], "export", ("run", "a", "folder"),
         {"formats": ["onnx"]}),
        (["exits", "a.pt2", "--list"], "own", ("a.pt2",), {}),
        (["profile", "a.onnx", "--profile", "p", "--size", "8"], "measure", ("a.onnx", ["p"], None),
         {"size": 8, "compare": None}),
        (["predict", "a.onnx", "b.png", "--resize"], "predict", ("a.onnx", ["b.png"]), {"resize": True}),
        (["distil", "mine", "--out", "o", "--loss", "kd", "--seeds", "2"], "train", ("mine", "o"),
         {"losses": ["kd"], "seeds": 2, "epochs_scale": None}),
    ],
)  # fmt: skip
def test_a_command_is_a_call(refused, monkeypatch, words, function, given, named):
    calls = []

    def called(*args, **kwargs):
        calls.append((args, kwargs))
        raise erde_nas.UserError("said by the API")

    monkeypatch.setattr(erde_nas, function, called)
    assert refused(*words) == "said by the API"
    ((args, kwargs),) = calls
    plain = tuple(list(map(str, arg)) if isinstance(arg, list) else arg if arg is None else str(arg) for arg in args)
    assert plain == given
    assert named.items() <= kwargs.items()
