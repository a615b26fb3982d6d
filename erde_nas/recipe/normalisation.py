"""The usual normalisations of a user's own teacher: mean and deviation per channel, of pixels scaled to [0, 1]."""

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
USUAL: dict[str, Normalisation] = {  # one number stands for any number of channels
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "mnist": ((0.1307,), (0.3081,)),
    "half": ((0.5,), (0.5,)),  # [-1, 1]
    "unit": ((0.0,), (1.0,)),  # [0, 1]
    "pixels": ((0.0,), (1 / 255,)),  # 0..255
}
