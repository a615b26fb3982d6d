"""A baseline of which no file could be deployed: what PyTorch says of it. And the interval of a test accuracy."""

from scipy.stats import binomtest

from erde_nas.data.dataset import Dataset
from erde_nas.front.point import Point
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.results.network_files import TrainedNetwork


def without_file(trained: TrainedNetwork, dataset: Dataset) -> Point:
    """A baseline of which no fp32 file could be deployed and measured: what PyTorch says of it."""
    right = {
        name: all_logits(trained.network, split.images)[-1].argmax(-1) == split.labels
        for name, split in (("validation", dataset.validation), ("test", dataset.test))
    }
    accuracy = {name: float(values.mean()) for name, values in right.items()}
    return Point(
        student=trained.name,
        stage=trained.stage,
        arch=trained.network.arch.to_dict() if isinstance(trained.network, EarlyExitNetwork) else None,
        thresholds=(),
        exit_fractions=(1.0,),
        val_accuracy=accuracy["validation"],
        test_accuracy=accuracy["test"],
        test_accuracy_ci95=confidence(accuracy["test"], dataset),
        macs=trained.macs_per_exit[-1],
        macs_per_exit=trained.macs_per_exit[-1:],
        params=sum(parameter.numel() for parameter in trained.network.parameters()),
        size_bytes=None,
        latency_ms={},
        file=None,
        role=trained.role,
        offered=False,
        exit_accuracy=(accuracy["test"],),
    )


def confidence(accuracy: float, dataset: Dataset) -> tuple[float, float]:
    """Wilson's 95 % interval of a test accuracy."""
    interval = binomtest(round(accuracy * len(dataset.test)), len(dataset.test)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
