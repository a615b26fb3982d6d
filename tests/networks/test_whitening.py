"""Filters computed from the images: what they make of patches, and where they go."""

import numpy as np
import pytest
import torch

from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.whitening import patch_covariance, whiten_, whitening_filters
from tests.networks.builders import small_arch


@pytest.fixture(scope="module")
def images():
    """Smooth ones: neighbours are alike, as in photographs."""
    noise = torch.randn(600, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 2, 1)  # (600, 3, 8, 8)
    smooth[:, 1] += smooth[:, 0]
    return (smooth * 40 + 120).clamp(0, 255).round().to(torch.uint8)


def patches(images):
    """(patches, channels, 2, 2) float64, one by one."""
    pixels = images.double().numpy()
    return np.stack([pixels[:, :, y : y + 2, x : x + 2] for y in range(7) for x in range(7)], 1).reshape(-1, 3, 2, 2)


def test_the_covariance_is_numpys(images):
    expected = np.cov(patches(images).reshape(-1, 12).T, ddof=0)
    np.testing.assert_allclose(patch_covariance(images), expected, atol=1e-8)


def test_filters_make_every_direction_as_large_and_none_alike(images):
    rows = torch.from_numpy(patches(images) / 40).flatten(1)
    filters = whitening_filters(patch_covariance(images) / 40**2, 24).flatten(1)
    assert torch.equal(filters[1::2], -filters[::2])
    answers = (rows - rows.mean(0)) @ filters[::2].T
    covariance = answers.T @ answers / len(answers)
    torch.testing.assert_close(covariance, torch.eye(12, dtype=torch.float64), atol=0.03, rtol=0)
    lengths = filters[::2].norm(dim=1)
    assert lengths.tolist() == sorted(lengths.tolist())  # most variance, and so the shortest filter, first


def test_a_narrower_stem_has_the_first_filters(images):
    covariance = patch_covariance(images) / 60**2
    assert torch.equal(whitening_filters(covariance, 24)[:8], whitening_filters(covariance, 8))


def test_a_network_whitens_what_its_normalisation_gives(images):
    arch = small_arch("airbench", ("max",), channels=3)
    network = EarlyExitNetwork(
        arch, (images / 255.0).mean((0, 2, 3)).tolist(), (images / 255.0).std((0, 2, 3)).tolist()
    )
    bias = network.parts[0].body[1][0].bias
    whiten_(network, patch_covariance(images))
    torch.nn.init.zeros_(bias)
    normalize, stem = network.parts[0].body[:2]
    answers = stem[0](normalize(images))[:, ::2].detach().double().transpose(0, 1).flatten(1)  # (filters, pixels)
    torch.testing.assert_close(torch.cov(answers), torch.eye(4, dtype=torch.float64), atol=0.03, rtol=0)
    assert not stem[0].weight.requires_grad
    assert bias.requires_grad


def test_other_families_stay_as_they_are():
    network = EarlyExitNetwork(small_arch("resnet", ("gap",)), [0.5], [0.25])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    whiten_(network, torch.eye(4, dtype=torch.float64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
