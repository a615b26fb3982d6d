"""A toy of each kind is registered under a name, and used for real: nothing but its name makes it known."""

import numpy as np
import pytest
import torch
import yaml

from erde_nas.comparison.loss_names import parse_loss
from erde_nas.compression.prune import prune
from erde_nas.data.fetch import fetch, list_datasets
from erde_nas.data.kind import licence
from erde_nas.data.load import load_dataset
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.terms.make import make_term
from erde_nas.errors import UserError
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import exit_macs, macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.segments import export_segments
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.recipe import load_recipe
from erde_nas.registry import DATASETS, FAMILIES, HEADS, RUNTIMES, SEARCHERS, TERMS
from erde_nas.searching.searchers import make_searcher
from erde_nas.space.space import Space
from tests.conftest import RECIPE
from tests.networks.builders import build, digits, small_arch
from tests.toys import Difference


def recipe(folder, **sections):
    """The tiny recipe with keys of its sections replaced."""
    values = yaml.safe_load(RECIPE)
    for section, keys in sections.items():
        values[section] = {**values.get(section, {}), **keys}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return load_recipe(folder / "mine.yaml")


def test_a_family_and_a_head(tmp_path):
    with FAMILIES.registered("toy", "tests.toys:FAMILY"), HEADS.registered("toy-head", "tests.toys:HEAD"):
        found = recipe(tmp_path, space={"families": ["toy"], "heads": ["toy-head"]})
        space = Space(found.space, (1, 8, 8), 10)
        arch = space.middle()
        assert {name for name in space.parameters if name.startswith(("kernel", "expansion"))} == set()
        network = EarlyExitNetwork(arch, [0.3], [0.4])
        macs, side, inputs = 9 * 64 * arch.stem, 8, arch.stem  # by hand: 3×3 convolutions, and heads that pool
        per_exit, heads = [], {exit_.block for exit_ in arch.exits}
        for number, block in enumerate(arch.blocks):
            side //= block.stride
            macs += 9 * inputs * block.width * side**2
            inputs = block.width
            if number in heads:
                macs += block.width * 10
                per_exit.append(macs)
        assert list(macs_per_exit(network)) == list(exit_macs(arch)) == per_exit
        pruned, smaller = prune(network, 0.5)
        assert smaller.family == "toy"
        assert all(block.width <= old.width for block, old in zip(smaller.blocks, arch.blocks, strict=True))
        assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in network.parameters())
        nest(export_segments(network.eval()), [1.0] * (len(arch.exits) - 1))
    with pytest.raises(UserError, match=r"space\.families\[0\]: should be 'resnet', .* \(got \"toy\"\)"):
        recipe(tmp_path, space={"families": ["toy"]})


@pytest.mark.parametrize(("text", "power"), [("toy", 1), ("toy:power=2", 2), ("ea-toy", 1)])
def test_a_loss(tmp_path, text, power):
    with TERMS.registered("toy", "tests.toys:Difference"):
        section = parse_loss(text, recipe(tmp_path, distil={"loss": "toy"}).distil)
        network = build(small_arch("resnet", ("gap",), classes=3))
        term = make_term(section, network, network)
        assert isinstance(term, Difference)
        assert term.power == power
        assert section.method.entropy_adaptive == text.startswith("ea-")
        student, teacher = torch.tensor([[[0.0, 2.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 3.0]]])
        step = Step(student, torch.tensor([1]), teacher)
        plain = Objective(DistilSection(loss="ce"), [1.0])(step)
        if not section.method.entropy_adaptive:
            added = Objective(section.model_copy(update={"kd_weight": 0.5}), [1.0], term)(step) - plain
            assert added.item() == pytest.approx(0.5 * (2**power + 3**power))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"powr": 2}, r"options\.powr will not do: did you mean 'power'\?"),
        ({"power": 1.5}, r"options\.power will not do: it should be a valid integer.*, but is 1\.5"),
    ],
)
def test_a_loss_declares_its_own_keys(tmp_path, options, why):
    with TERMS.registered("toy", "tests.toys:Difference"):
        assert recipe(tmp_path, distil={"loss": "toy", "options": {"power": 3}}).distil.options == {"power": 3}
        with pytest.raises(UserError, match=rf"mine\.yaml:\d+: distil: {why}"):
            recipe(tmp_path, distil={"loss": "toy", "options": options})
    with pytest.raises(UserError, match="options are for the losses of plug-ins that declare some, not for 'kd'"):
        recipe(tmp_path, distil={"loss": "kd", "options": {"power": 3}})


def test_a_searcher(tmp_path):
    with SEARCHERS.registered("toy", "tests.toys:FirstChoices"):
        found = recipe(tmp_path, search={"searcher": "toy"})
        space = Space(found.space, (1, 16, 16), 10)
        searcher = make_searcher(found.search.searcher, space, objectives=2, seed=0)
        params = searcher.ask().params
        assert sum(params[name] != choices[0] for name, choices in space.parameters.items()) <= 1
        assert space.identify(params) != space.identify(searcher.ask().params), "what was proposed is not again"
    with pytest.raises(UserError, match=r"search\.searcher: should be 'nsga2', .* \(got \"toy\"\)"):
        recipe(tmp_path, search={"searcher": "toy"})


def test_a_data_set(tmp_path):
    with DATASETS.registered("toy", "tests.toys:DATASET"):
        section = DatasetSection(name="toy", path="anywhere", validation=0.25)
        dataset = load_dataset(section)
        assert (dataset.classes, len(dataset.train), len(dataset.validation), len(dataset.test)) == (
            ("left", "right"), 24, 8, 8,
        )  # fmt: skip
        bright = dataset.train.images[:, 0, :, 0].mean(-1) > 100
        assert np.array_equal(bright, dataset.train.labels == 0)
        assert [item.origin for item in list_datasets(tmp_path) if item.name == "toy"] == ["drawn by a test"]
        assert licence("toy") == "CC0"
        with pytest.raises(UserError, match="toy means drawn by a test, there is nothing to fetch"):
            fetch("toy", tmp_path)
        with pytest.raises(ValueError, match="data set 'toy' needs path"):
            DatasetSection(name="toy")
        with pytest.raises(ValueError, match="channels belongs to folder, not to 'toy'"):
            DatasetSection(name="toy", path="anywhere", channels=1)


def test_a_runtime(tmp_path):
    """Under another name, ONNX Runtime gives the same answers; tests/measurement/test_plugins.py measures with one."""
    from erde_nas.device.machine import describe_machine
    from erde_nas.device.runtimes import runtime
    from erde_nas.device.runtimes.interface import Setting
    from erde_nas.onnx_files.deployable import DeployableFile
    from erde_nas.recipe.profile import HardwareProfile
    from tests.networks.builders import write_onnx

    images = digits()[0][:4]
    network = build(small_arch("resnet", ("gap", "gap")))
    student = DeployableFile(write_onnx(network, [-1.0], tmp_path / "model.onnx"), network)
    with RUNTIMES.registered("toy", "erde_nas.device.runtimes.onnxruntime"):
        profile = HardwareProfile(name="mine", runtime="toy", precision="int8")
        used, setting = runtime(profile.runtime), Setting()
        (tmp_path / "files").mkdir()
        runner = used.load([str(path) for path in used.prepare(student, setting, tmp_path / "files")], setting)
        found = [runner.run(image[None], np.array([-1], np.float32))[0][0] for image in images]
        np.testing.assert_allclose(found, all_logits(network, images)[-1], atol=1e-4)
        assert used.PACKAGE in dict(describe_machine().runtimes)
    with pytest.raises(ValueError, match="'executorch'"):
        HardwareProfile(name="mine", runtime="toy")
