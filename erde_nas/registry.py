"""The names that recipes, profiles and commands may give, each said once, and what other packages add to them.

A table below maps a name to its implementation as "module:attribute", which is imported when the name is used. Another
package adds a name by an entry point in the table's group. Such a plug-in is named and left out where it cannot be
imported, lacks something, or takes a name that is taken: it breaks nothing else.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from erde_nas.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class UnknownName(UserError):
    """A name that is in no table. The message lists the choices."""


@dataclass(frozen=True)
class Plugin:
    """A name that does not come with erde-nas: where its implementation is, and the package that brings it."""

    name: str
    at: str  # module:attribute
    package: str


class Registry(Generic[T]):
    """Names of one kind, such as losses, in their order: first those of erde-nas, then those of plug-ins.

    `at` says where each implementation is, `group` is the entry points' group. An implementation must have the
    attributes `needs`, and be an instance or a subclass of what `a` names. `taken` says where there are other names
    that no plug-in may take.
    """

    def __init__(
        self, kind: str, group: str, at: Mapping[str, str], *, needs: Sequence[str] = (), a: str = "", taken: str = ""
    ) -> None:
        self.kind, self.group, self.needs, self._a, self._others = kind, group, tuple(needs), a, taken
        self._at = dict(at)
        self._added: dict[str, Plugin] = {}
        self._left_out: dict[Plugin, str] = {}  # of those that were tried: why; empty where it works

    @property
    def built_in(self) -> tuple[str, ...]:
        """The names of erde-nas itself."""
        return tuple(self._at)

    def __getitem__(self, name: str) -> T:
        """The implementation. Raises UnknownName where there is none, or none that works."""
        if name in self._at:
            return load(self._at[name])
        plugin = self.plugins().get(name)
        if plugin is None or not self._works(plugin):
            raise UnknownName(self.unknown(name))
        return load(plugin.at)

    def __contains__(self, name: object) -> bool:
        """Whether the name can be used. No plug-in is looked for where the name is one of erde-nas."""
        if name in self._at:
            return True
        plugin = self.plugins().get(name) if isinstance(name, str) else None
        return plugin is not None and self._works(plugin)

    def __iter__(self) -> Iterator[str]:
        """Every name that can be used."""
        yield from self._at
        yield from (name for name, plugin in self.plugins().items() if self._works(plugin))

    def why_left_out(self, name: object) -> str:
        """The line on the plug-in of that name; empty where there is none, or none that is broken."""
        plugin = self.plugins().get(name) if isinstance(name, str) and name not in self._at else None
        return "" if plugin is None or self._works(plugin) else self._left_out[plugin]

    def unknown(self, name: object) -> str:
        """What to say of a name that cannot be used: the choices and the nearest, or why its plug-in is left out."""
        if why := self.why_left_out(name):
            return why
        names = list(self)
        near = get_close_matches(str(name), names, n=1)
        nearest = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown {self.kind} '{name}': choose one of {', '.join(names)}{nearest}"

    def plugins(self) -> dict[str, Plugin]:
        """The names of other packages, none of which is imported for it. A name that is taken is not among them."""
        found = dict(self._added)
        for plugin in _entry_points(self.group):
            if not self._taken(plugin.name):
                found.setdefault(plugin.name, plugin)
        return found

    def noticed(self) -> list[str]:
        """One line for each plug-in that was tried until now and had to be left out."""
        tried = [plugin for plugin, why in self._left_out.items() if why]
        here = self.plugins().values() if tried else ()
        return [self._left_out[plugin] for plugin in tried if plugin in here]

    def left_out(self) -> list[str]:
        """One line for each plug-in that cannot be used. Imports them all."""
        known, lines = self.plugins(), []
        for plugin in _entry_points(self.group):
            if self._taken(plugin.name):
                lines.append(self._line(plugin, f"erde-nas has a {self.kind} of that name itself"))
            elif known[plugin.name] != plugin:
                lines.append(self._line(plugin, f"{known[plugin.name].package} has a {self.kind} of that name, too"))
        return lines + [self._left_out[plugin] for plugin in known.values() if not self._works(plugin)]

    def register(self, name: str, at: str) -> None:
        """Add a name in this process alone; `at` is "module:attribute". Raises UserError where it is taken."""
        if self._taken(name) or name in self.plugins():
            raise UserError(f"there is a {self.kind} '{name}' already; choose another name")
        self._added[name] = Plugin(name, at, "this process")

    @contextmanager
    def registered(self, name: str, at: str) -> Iterator[None]:
        """As `register`, for a while."""
        self.register(name, at)
        try:
            yield
        finally:
            del self._added[name]

    def _taken(self, name: str) -> bool:
        return name in self._at or bool(self._others and name in load(self._others))

    def _works(self, plugin: Plugin) -> bool:
        """Whether a plug-in can be imported and has what it needs; it is tried once."""
        if plugin not in self._left_out:
            why = self._trouble(plugin)
            self._left_out[plugin] = self._line(plugin, why) if why else ""
        return not self._left_out[plugin]

    def _trouble(self, plugin: Plugin) -> str:
        try:
            with redirect_stdout(sys.stderr):  # what it prints must not stand in the JSON of a command
                found = load(plugin.at)
        except (Exception, SystemExit) as error:  # whatever its code raises, it is the plug-in that is broken
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
        if self._a and not isinstance(found, wanted := load(self._a)) and wanted not in getattr(found, "__mro__", ()):
            kind = f"{wanted.__name__} of {wanted.__module__}"
            return f"{plugin.at} must be a {kind}, but is of type {type(found).__name__}"
        lacking = [name for name in self.needs if not hasattr(found, name)]
        return f"{plugin.at} has no {', '.join(lacking)}; it may be for another erde-nas" if lacking else ""

    def _line(self, plugin: Plugin, why: str) -> str:
        return f"{self.kind} '{plugin.name}' of {plugin.package} is left out: {why}"


def load(at: str) -> Any:
    """What "module:attribute" names, or "module" alone."""
    module, _, attribute = at.partition(":")
    found = import_module(module)
    return attrgetter(attribute)(found) if attribute else found


def _entry_points(group: str) -> list[Plugin]:
    """Those of a group, in the order of the search path."""
    return _all_entry_points(tuple(sys.path)).get(group, [])


@lru_cache(maxsize=1)
def _all_entry_points(path: tuple[str, ...]) -> dict[str, list[Plugin]]:
    """Those of erde-nas by group. Looking for them takes 10 ms: it is done once for a search path, not for `--help`."""
    from importlib.metadata import entry_points

    found = entry_points()
    groups = [group for group in found.groups if group.startswith("erde_nas.")]
    return {group: [_plugin(point) for point in found.select(group=group)] for group in groups}


def _plugin(point: "EntryPoint") -> Plugin:
    package = point.dist
    return Plugin(point.name, point.value, f"{package.name} {package.version}" if package else "an unknown package")


FAMILIES: Registry[Any] = Registry(
    "family",
    "erde_nas.families",
    {
        "resnet": "erde_nas.networks.families:RESNET",
        "wrn": "erde_nas.networks.families:WRN",
        "bottleneck": "erde_nas.networks.families:BOTTLENECK",
        "vgg": "erde_nas.networks.families:VGG",
        "mobilenet": "erde_nas.networks.families:MOBILENET",
        "shufflenet": "erde_nas.networks.families:SHUFFLENET",
        "airbench": "erde_nas.networks.families:AIRBENCH",
    },
    a="erde_nas.networks.families:Family",
)

HEADS: Registry[Any] = Registry(
    "head",
    "erde_nas.heads",
    {
        "erde": "erde_nas.networks.heads:ERDE",
        "gap": "erde_nas.networks.heads:GAP",
        "conv": "erde_nas.networks.heads:CONV",
        "pool2": "erde_nas.networks.heads:POOL2",
        "pool4": "erde_nas.networks.heads:POOL4",
        "linear": "erde_nas.networks.heads:LINEAR",
        "wide": "erde_nas.networks.heads:WIDE",
        "max": "erde_nas.networks.heads:MAX",
    },
    a="erde_nas.networks.heads:HeadKind",
)

TERMS: Registry[Any] = Registry(  # what distils; recipe/distil.py names the losses, most of them after one of these
    "loss",
    "erde_nas.losses",
    {
        "kd": "erde_nas.distil.terms.kd:KD",
        "ctkd": "erde_nas.distil.terms.ctkd:CTKD",
        "dkd": "erde_nas.distil.terms.dkd:DKD",
        "mld": "erde_nas.distil.terms.mld:MLD",
        "reviewkd": "erde_nas.distil.terms.reviewkd:ReviewKD",
        "fcfd": "erde_nas.distil.terms.fcfd:FCFD",
    },
    a="erde_nas.distil.step:Term",
    taken="erde_nas.recipe.distil:TAKEN",
)

DATASETS: Registry[Any] = Registry(
    "data set",
    "erde_nas.datasets",
    {
        "digits": "erde_nas.data.digits:DIGITS",
        "fashion-mnist": "erde_nas.data.fashion_mnist:FASHION_MNIST",
        "fashion-mnist-small": "erde_nas.data.fashion_mnist_small:FASHION_MNIST_SMALL",
        "cifar10": "erde_nas.data.cifar:CIFAR10",
        "cifar100": "erde_nas.data.cifar:CIFAR100",
        "svhn": "erde_nas.data.svhn:SVHN",
        "tiny-imagenet": "erde_nas.data.tiny_imagenet:TINY_IMAGENET",
        "folder": "erde_nas.data.folder:FOLDER",
        "npz": "erde_nas.data.npz:NPZ",
    },
    a="erde_nas.data.kind:DatasetKind",
)

SEARCHERS: Registry[Any] = Registry(
    "searcher",
    "erde_nas.searchers",
    {
        "nsga2": "erde_nas.searching.searchers.nsga2:Strategy",
        "nsga3": "erde_nas.searching.searchers.nsga3:Strategy",
        "regularized-evolution": "erde_nas.searching.searchers.regularized_evolution:Strategy",
        "surrogate": "erde_nas.searching.searchers.surrogate:Strategy",
        "tpe": "erde_nas.searching.searchers.tpe:Strategy",
        "random": "erde_nas.searching.searchers.uniform:Strategy",
        "nni-tpe": "erde_nas.searching.searchers.nni_tpe:Strategy",
        "nni-evolution": "erde_nas.searching.searchers.nni_evolution:Strategy",
        "nni-gridsearch": "erde_nas.searching.searchers.nni_gridsearch:Strategy",
    },
    needs=("suggest", "tell"),
)

OBJECTIVES: Registry[Any] = Registry(
    "objective",
    "erde_nas.objectives",
    {
        "error": "erde_nas.searching.objectives:ERROR",
        "macs": "erde_nas.searching.objectives:MACS",
        "params": "erde_nas.searching.objectives:PARAMS",
        "latency": "erde_nas.searching.objectives:LATENCY",
    },
    a="erde_nas.searching.objectives:Objective",
)

RUNTIMES: Registry[Any] = Registry(
    "runtime",
    "erde_nas.runtimes",
    {
        "onnxruntime": "erde_nas.device.runtimes.onnxruntime",
        "openvino": "erde_nas.device.runtimes.openvino",
        "torch": "erde_nas.device.runtimes.torch",
        "torch-compile": "erde_nas.device.runtimes.torch_compile",
        "executorch": "erde_nas.device.runtimes.executorch",
    },
    needs=("PACKAGE", "EXTRA", "PRECISIONS", "DEVICES", "versions", "prepare", "load"),
)

EXIT_RULES: Registry[Any] = Registry(
    "exit rule",
    "erde_nas.exit_rules",
    {
        "entropy": "erde_nas.device.exit_rules:ENTROPY",
        "max-prob": "erde_nas.device.exit_rules:MAX_PROB",
        "margin": "erde_nas.device.exit_rules:MARGIN",
        "learned": "erde_nas.device.learned_rule:LEARNED",
    },
    a="erde_nas.device.exit_rules:ExitRule",
)

REGISTRIES = (FAMILIES, HEADS, TERMS, DATASETS, SEARCHERS, OBJECTIVES, RUNTIMES, EXIT_RULES)
ON_DEVICES = (RUNTIMES, EXIT_RULES)  # what also runs where a student is measured
