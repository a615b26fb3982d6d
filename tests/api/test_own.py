"""`erde_nas.own`: a module, or a file, with its cuts."""

import pytest
import torch

import erde_nas
from tests.networks.foreign import Dense, Transformer, exported, images, trained


def test_a_module_is_taken_apart_and_left_alone():
    network = trained(Transformer()).train()
    own = erde_nas.own(network, images(1).numpy())
    assert network.training
    x = inputs = images(5)
    for piece in own.pieces([cut.number for cut in own.cuts if cut.stage.endswith("blocks.0")]):
        x = piece(x)
    with torch.no_grad():
        assert torch.equal(x, network.eval()(inputs))


def test_a_module_written_for_one_number_of_inputs():
    class Counts(Dense):
        def forward(self, x):
            return super().forward(x.reshape(len(x), 3, 16, 16))  # which makes the exporter keep this number

    network = trained(Counts())
    own = erde_nas.own(network, images(2))
    assert torch.equal(own.network(images(7)), network(images(7)))


def test_a_file(tmp_path):
    torch.export.save(exported(trained(Dense()), images(3)), tmp_path / "mine.pt2")
    own = erde_nas.own(tmp_path / "mine.pt2")
    lines = str(own).splitlines()
    assert "takes 3×16×16 (float32) and gives 5 logits: 6,581 parameters, 1.6 M MACs, 7 cuts" in lines[0]
    cells = [line.split() for line in lines]
    assert ["16×16", "0", "stem", "(conv2d)", "16×16×16", "0.111", "6.9", "432"] in cells
    assert ["the", "network", "logits", "5", "1.6", "100.0", "6,581"] in cells


@pytest.mark.parametrize(("given", "said"), [((3,), "but got int"), ((Dense(),), "needs an example")])
def test_other_things_are_refused(given, said):
    with pytest.raises(erde_nas.UserError, match=said):
        erde_nas.own(*given)
