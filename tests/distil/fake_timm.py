"""The part of timm that a teacher needs, with one small model: timm itself needs a torchvision built for this torch."""

from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

NAME = "tiny_patch8_24"
CONFIG = {
    "input_size": (3, 24, 24), "interpolation": "bicubic", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3),
    "crop_pct": 0.9, "crop_mode": "center",
}  # fmt: skip


class TinyVit(nn.Module):
    """Patches of 8×8 of images of 24×24, one attention of two heads, two class heads: named as timm names them."""

    def __init__(self, classes: int, side: int = 24, width: int = 8) -> None:
        super().__init__()
        self.pretrained_cfg = {"classifier": ("head", "head_dist")}
        self.patch_embed = nn.Conv2d(3, width, 8, stride=8)
        self.pos_embed = nn.Parameter(torch.randn(1, (side // 8) ** 2, width))
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(0.5)
        self.head, self.head_dist = nn.Linear(width, classes), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (batch, 3, 24, 24) -> (batch, classes)."""
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed  # (batch, tokens, width)
        q, k, v = (
            self.qkv(tokens).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind()
        )  # each (b, heads, tokens, w)
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        mean = self.drop(self.norm(attended)).mean(1)
        return (self.head(mean) + self.head_dist(mean)) / 2


def _load_state_dict(path: str, weights_only: bool) -> Any:
    assert weights_only
    content = load_file(path) if path.endswith(".safetensors") else torch.load(path, weights_only=True)
    return content.get("state_dict", content)


def modules() -> dict[str, ModuleType]:
    """What goes into `sys.modules`."""
    timm, data, models = ModuleType("timm"), ModuleType("timm.data"), ModuleType("timm.models")

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        assert name == NAME
        assert not pretrained, "nothing may be downloaded"
        return TinyVit(num_classes)

    timm.__dict__.update(
        __version__="0.0",
        is_model=lambda name: name == NAME,
        list_models=lambda: [NAME],
        create_model=create_model,
        models=models,
    )
    models.__dict__["load_state_dict"] = _load_state_dict
    data.__dict__["resolve_model_data_config"] = lambda _: CONFIG
    return {"timm": timm, "timm.data": data, "timm.models": models}
