"""docs/own-network.md followed to the letter: from four lines of PyTorch to `run.py` on a photo, at 224x224."""

import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from erde_nas.recipe.normalisation import USUAL

GUIDE = (Path(__file__).parents[1] / "docs" / "own-network.md").read_text()
CLASSES, SIZE, MOST_GB = ("blue", "green", "red"), 224, 4.0
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in USUAL["imagenet"])


def blocks(heading: str) -> list[str]:
    """The indented blocks of the guide below a heading, or below its title."""
    text = GUIDE.partition(heading)[2].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    return ["\n".join(line.removeprefix("    ") for line in block.splitlines()) for block in found]


def photo(label: int, generator: np.random.Generator) -> Image.Image:
    """Noise with a patch of the class's colour in a place of its own."""
    pixels = generator.integers(0, 140, (SIZE, SIZE, 3), dtype=np.uint8)
    y, x = generator.integers(0, SIZE - 64, 2)
    pixels[y : y + 64, x : x + 64, 2 - label] = generator.integers(120, 256, (64, 64), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, and one photo that is in none of its parts."""
    folder, generator = tmp_path_factory.mktemp("guide"), np.random.default_rng(0)
    for part, each in (("train", 40), ("valid", 20), ("test", 10)):
        for label, name in enumerate(CLASSES):
            (folder / "photos" / part / name).mkdir(parents=True)
            for number in range(each):
                photo(label, generator).save(folder / "photos" / part / name / f"{number}.jpg")
    photo(1, generator).save(folder / "photo.png")
    return folder


def trained(folder: Path) -> nn.Module:
    """A small network that has learnt the photos, with ImageNet's normalisation."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 8, 8), nn.BatchNorm2d(16), nn.ReLU()]
    for inputs, width, stride in ((16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2)):
        layers += [nn.Conv2d(inputs, width, 3, stride, 1), nn.BatchNorm2d(width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, len(CLASSES)))
    files = [(path, label) for label, name in enumerate(CLASSES) for path in folder.glob(f"photos/train/{name}/*")]
    pixels = np.stack([np.asarray(Image.open(path)) for path, _ in files])
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - MEAN) / STD
    labels = torch.tensor([label for _, label in files])
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(6):
        for chosen in torch.randperm(len(images)).split(20):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return network


def command(line: str, folder: Path) -> str:
    """What a command of the guide prints; `erde-nas` and `python` are those of this environment."""
    words = shlex.split(line)
    words[:1] = {"erde-nas": [sys.executable, "-m", "erde_nas.cli"], "python": [sys.executable]}[words[0]]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_guide_as_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(blocks("# Your own network")[0], {"model": trained(folder)})
    (listing,) = [line for line in blocks("## Where it can be cut")[0].splitlines() if line.startswith("erde-nas")]
    assert "cuts" in command(listing, folder)
    train_and_run = blocks("## Exits alone, in minutes")[0].splitlines()
    said, answer = [command(line, folder) for line in train_and_run]
    assert "mine/shipped" in said
    assert "green" in answer
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MOST_GB * 1e6
