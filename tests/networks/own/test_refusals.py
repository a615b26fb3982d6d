"""What cannot be used is refused with one line that says why."""

import warnings

import pytest
import torch
from torch import nn

from erde_nas.errors import UserError
from erde_nas.networks.own.exporting import own_of_module
from erde_nas.networks.own.network import load_own, own_network
from tests.networks.foreign import Residual, exported, images, trained


def refused(program, *more) -> str:
    with pytest.raises(UserError) as caught:
        own_network(program, "model.pt2", *more)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model.pt2 ")
    return str(caught.value)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)


def test_what_is_run_may_not_depend_on_the_inputs_values():
    class Branches(Layers):
        def forward(self, x):
            x = self.first(x)
            x = torch.cond(x.sum() > 0, lambda y: self.second(y), lambda y: y.relu(), (x,))
            return self.head(x)

    with torch.no_grad():
        program = exported(Branches(), torch.randn(3, 6))
    assert "decides by its inputs' values what it runs, in cond" in refused(program)


def test_a_shape_may_not_depend_on_the_inputs_values():
    class Chosen(Layers):
        def forward(self, x):
            return self.head(self.first(x)[x[:, 0] > 0])

    assert "decides by its inputs' values what it runs, in index (index)" in refused(
        exported(Chosen(), torch.randn(3, 6))
    )


def test_two_inputs():
    class Two(Layers):
        def forward(self, x, y):
            return self.head(self.first(x) + self.first(y))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(Two(), (torch.randn(3, 6), torch.randn(3, 6)))
    assert "must take one tensor, but its inputs are x, y; export a module that takes one" in refused(program)


def test_a_detector():
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.boxes, self.scores = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 5, 1)

        def forward(self, x):
            x = torch.relu(self.body(x))
            return self.boxes(x).flatten(2).transpose(1, 2), self.scores(x).flatten(2).transpose(1, 2)

    message = refused(exported(Detector(), images(3)))
    assert "must give logits (batch, classes), but gives (batch, 64, 4), (batch, 64, 5)" in message


def test_a_network_without_a_cut():
    class Ensemble(Layers):
        def forward(self, x):
            return self.head(self.first(x)) + self.head(torch.relu(self.first(x)))

    class Parallel(Layers):
        def forward(self, x):
            return torch.cat([self.head(self.first(x)), x], 1)

    assert "cannot be cut: nowhere between its input" in refused(exported(Parallel(), torch.randn(3, 6)))
    assert "cannot be cut: nowhere between its input" in refused(exported(Ensemble(), torch.randn(3, 6)))


@pytest.mark.parametrize("how", ["statistics of the batch", "a comparison with the others"])
def test_logits_that_depend_on_the_other_inputs(how):
    class Depends(Layers):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(8, track_running_stats=False)

        def forward(self, x):
            x = self.first(x)
            return self.head(self.norm(x) if how == "statistics of the batch" else x - x.mean(0))

    message = refused(exported(Depends().eval(), torch.randn(3, 6)))
    assert "answers an input differently in other company" in message


def test_answers_that_are_drawn():
    class Drawn(Layers):
        def forward(self, x):
            return self.head(self.first(x) + torch.randn_like(self.first(x)))

    assert "answers differently when asked again" in refused(exported(Drawn(), torch.randn(3, 6)))


def test_values_that_are_not_finite():
    network = Residual().eval()
    with torch.no_grad():
        network.fc.weight.fill_(torch.nan)
    assert "gives values that are not finite" in refused(exported(network, images(3)))


def test_a_size_that_is_left_open_and_one_that_does_not_fit():
    dims = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("h", min=8), 3: torch.export.Dim("w", min=8)},)
    program = exported(trained(Residual()), images(3), dynamic_shapes=dims)
    assert "takes inputs of 3×any×any, and one shape is needed" in refused(program)
    assert "takes inputs of 3×any×any, but those given are of 1×16×16" in refused(program, torch.zeros(2, 1, 16, 16))


def test_a_batch_that_cannot_be_set_free():
    class Pairs(Layers):
        def forward(self, x):
            return self.head(self.first(x.reshape(2, 2, 6).transpose(0, 1)).reshape(4, 8))

    assert "takes exactly 4 images at once, and any number is needed" in refused(
        exported(Pairs(), torch.randn(4, 6), strict=False)
    )


def test_no_file_and_a_damaged_one(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt2 does not exist; export it with torch\.export\.export"):
        load_own(tmp_path / "none.pt2")
    (tmp_path / "cut.pt2").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"cut\.pt2 is not a program that torch\.export can load: it is cut short"):
        load_own(tmp_path / "cut.pt2")


def test_a_module_that_cannot_be_exported():
    class Decides(Layers):
        def forward(self, x):
            return self.head(self.first(x)) if x.sum() > 0 else self.head(self.second(self.first(x)))

    with pytest.raises(UserError, match=r"^Decides cannot be exported by torch\.export: .+$"):
        own_of_module(Decides(), torch.randn(3, 6))
