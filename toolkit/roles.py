"""What a variable is for, told by names and shapes: a weight, or something an optimizer keeps.

TensorFlow's optimizers name a slot after its variable: `[SCOPE/]VAR/SLOT[_n]`, with VAR's shape.
`training/net/w/Adam_1` is a slot of `net/w` where the optimizer was made in the scope `training`.
Moving averages are named in the same way.

Source: tensorflow/python/training (slot_creator.py, optimizer.py, moving_averages.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from toolkit.dtypes import DType

Kind = Literal["weight", "slot", "moving_average", "counter", "metric", "metadata"]


class Described(Protocol):
    """Something with a dtype and a shape: a checkpoint's variable, or a graph's."""

    @property
    def dtype(self) -> DType:
        """TensorFlow's dtype."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        ...


class Role(NamedTuple):
    """What a variable is for.

    Attributes:
        kind: `weight`; `slot` or `moving_average` of the variable `of`; `counter`, a scalar that
            counts steps, or another number that an optimizer keeps (`RMSprop/decay`); `metric`, what a metric
            sums up while training; `metadata`, which is not a value of the model at all.
        of: The variable that a slot or moving average belongs to.
    """

    kind: Kind
    of: str | None = None


OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The key that object-based checkpoints have (tensorflow/python/checkpoint/checkpoint.py)."""
ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""How the keys of variables end in them (tensorflow/python/checkpoint/trackable_view.py)."""
OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
"""What stands between the key of a variable and of its slot in them (graph_view.py)."""

_WEIGHT = Role("weight")
_COUNTER = Role("counter")
_METADATA = Role("metadata")
_METRIC = Role("metric")
_AVERAGE = "ExponentialMovingAverage"
_BETA_POWERS = ("beta1_power", "beta2_power")


def assign(variables: Mapping[str, Described]) -> dict[str, Role]:
    """Return the role of each variable, in the order of `variables`."""
    roles = {}
    find = variables.get
    for name, variable in variables.items():
        shape = variable.shape
        cut = name.rfind("/")
        owner = name[:cut] if cut > 0 else ""
        while owner and ((found := find(owner)) is None or found.shape != shape):
            owner = owner.partition("/")[2]
        if owner and not shape and not name.startswith(owner) and name[cut + 1 :] not in _KNOWN_SLOTS:
            owner = ""  # that two are scalars says nothing
        if owner:
            kind: Kind = "moving_average" if _is_average(name[cut + 1 :]) else "slot"
            roles[name] = Role(kind, owner)
        elif not shape or "." in name:
            roles[name] = _other(name, variable, variables)
        else:
            roles[name] = _WEIGHT
    _assign_kept(roles, variables)
    return roles


def _assign_kept(roles: dict[str, Role], variables: Mapping[str, Described]) -> None:
    """Tell the slots of Keras's optimizers from weights: `Adam/m/net/w`, `adam/net_w_momentum`."""
    kept = [name for name, role in roles.items() if role is _WEIGHT and _IN_OPTIMIZER.match(name)]
    if not kept:
        return
    known = set(kept)
    weights = FlatNames({n: variables[n] for n, role in roles.items() if role is _WEIGHT and n not in known})
    for name in kept:
        owner = weights.owner_of(name, variables[name])
        # adam/net/w beside net/w is a weight in a scope of that name
        if owner is not None and not _ENDS_IN_OPTIMIZER.search(name.removesuffix(owner)):
            roles[name] = kept_by_optimizer(name, variables[name], owner)


def _other(name: str, variable: Described, variables: Mapping[str, Described]) -> Role:
    """Return the role of what is not named like a slot: of scalars, and of keys of object graphs."""
    if name == OBJECT_GRAPH:
        return _METADATA
    if name.endswith(ATTRIBUTE):
        owner, found, _ = name.partition(OBJECT_SLOT)
        if found and owner + ATTRIBUTE in variables:
            return Role("slot", owner + ATTRIBUTE)
    leaf = _without_number(name.rpartition("/")[2])
    if not variable.shape and (
        variable.dtype.kind == "int" or leaf in _BETA_POWERS or _OPTIMIZER_NUMBER.search(name)
    ):
        return _COUNTER
    return _METRIC if _is_of_mean(name, variable, variables) else _WEIGHT


def _is_of_mean(name: str, variable: Described, variables: Mapping[str, Described]) -> bool:
    """Return whether it is the `total` or the `count` of a metric: scalars, of which each has the other."""
    stem = _without_number(name.removesuffix(ATTRIBUTE).rpartition("/")[2])
    other = {"total": "count", "count": "total"}.get(stem)
    if other is None or variable.shape or variable.dtype.kind != "float":
        return False
    start = name.removesuffix(ATTRIBUTE).rfind("/") + 1
    pair = variables.get(name[:start] + other + name[start + len(stem) :])
    return pair is not None and not pair.shape and pair.dtype.kind == "float"


_OPTIMIZER = (
    r"(?:^|/)(?:(?:schedule_?free_?|rectified_?|lazy_?)?adam(?:ax|_?w)?|n_?adam|ada(?:delta|factor|bound|belief)"
    r"|(?:proximal_?)?adagrad|sgd(?:_?w)?|rm_?sprop|ftrl|lion|lamb|lars|muon|yogi|novo_?grad"
    r"|(?:loss_?scale_?|multi_?)?optimizer)(?:_\d+)?/"
)
"""The scope of an optimizer, which Keras and TensorFlow Addons call after its class."""
_IN_OPTIMIZER = re.compile(rf"(?:[^/]+(?=/))?{_OPTIMIZER}", re.IGNORECASE)
"""A name in such a scope, which is the first one of a name or, in Keras 1 and 2, below `training`."""
_ENDS_IN_OPTIMIZER = re.compile(rf"{_OPTIMIZER}\Z", re.IGNORECASE)
_OPTIMIZER_NUMBER = re.compile(
    rf"{_OPTIMIZER}(?:_?learning_rate|lr|(?:initial_|weight_)?decay|momentum|rho|epsilon|beta(?:_[12])?|clip\w+|min_lr"
    r"|iter(?:ations?)?|momentum_cache|_?u_product|variable|dynamic_scale|initial_accumulator_value|total_steps"
    r"|l[12]_(?:shrinkage_)?regularization_strength|learning_rate_power|sma_threshold|warmup_proportion)(?:_\d+)?\Z"
    r"|(?:^|/)(?:learning_rate|current_loss_scale)(?:_\d+)?\Z",
    re.IGNORECASE,
)
"""What optimizers call the numbers that they keep; `variable` is what Keras 3 calls Nadam's product.

Source: keras/src/optimizers (Keras 1 to 3); tensorflow_addons/optimizers.
"""


def _is_average(leaf: str) -> bool:
    return leaf.startswith(_AVERAGE) and _without_number(leaf) == _AVERAGE


def _without_number(leaf: str) -> str:
    """Return the last part of a name without the `_n` that tells a second one from the first."""
    stem, _, number = leaf.rpartition("_")
    return stem if stem and number.isdecimal() else leaf


class FlatNames:
    """Weights by what Keras's optimizers call what they keep for them.

    That is `Adam/m/dense/kernel`, or `adam/sequential_dense_kernel_momentum`, for `dense/kernel`.
    Source: keras/src/optimizers/base_optimizer.py, add_variable_from_reference.

    Args:
        weights: The weights, by name.
    """

    def __init__(self, weights: Mapping[str, Described]) -> None:
        self._weights = weights
        self._flat: dict[str, list[str]] = {}
        for name in weights:
            self._flat.setdefault(name.replace("/", "_"), []).append(name)

    def owner_of(self, name: str, variable: Described) -> str | None:
        """Return for which weight, of its shape, an optimizer keeps `variable` as `name`.

        Of several it is the one with the longest name; of two as long (`a/b_c` and `a_b/c`) neither is told.
        Adafactor keeps sums over the last axes of a weight, as `Adafactor/r/dense/kernel` and `/c/`, or as
        `adafactor/dense_kernel_r` and `_c`.
        """
        found = {name[cut + 1 :] for cut, character in enumerate(name) if character == "/"}
        flat = name.rpartition("/")[2]
        for cut, character in enumerate(flat):
            if character == "_":
                found.update(self._flat.get(flat[:cut], ()))
        is_sum = re.search(r"(^|/)[rc]/|_[rc]\Z", name) is not None
        weights = self._weights
        fitting = [
            weight
            for weight in found
            if weight in weights
            and (
                weights[weight].shape == variable.shape
                or (is_sum and variable.shape in _sums_of(weights[weight].shape))
            )
        ]
        longest = [weight for weight in fitting if len(weight) == max(map(len, fitting))]
        return longest[0] if len(longest) == 1 else None


def _sums_of(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return (shape[:-1], (*shape[:-2], shape[-1])) if len(shape) > 1 else ()


def kept_by_optimizer(name: str, variable: Described, owner: str | None) -> Role:
    """Return the role of what an optimizer keeps as `name`: a slot, an average, or a number.

    Args:
        name: What the optimizer calls it; Keras's averages end in `_average`.
        variable: What it is.
        owner: Whose it is, if that is known.
    """
    if owner is not None and re.search(r"_average(_\d+)?\Z", name):
        return Role("moving_average", owner)
    return Role("slot", owner) if variable.shape or owner else _COUNTER


def slot_name(name: str, owner: str) -> str | None:
    """Return the optimizer's name of the slot `name` of `owner`: `Adam_1`, `momentum`; `None` for no slot.

    Slots are called `[SCOPE/]OWNER/SLOT`, or by an object's key; Keras's `adam/SLOT/OWNER`, or
    `adam/OWNER_SLOT` with `_` for `/`.
    """
    key = owner.removesuffix(ATTRIBUTE) + OBJECT_SLOT
    if name.startswith(key):
        return name.removesuffix(ATTRIBUTE).rpartition("/")[2]
    head, _, slot = name.rpartition("/")
    if head == owner or head.endswith(f"/{owner}"):
        return slot
    if name.endswith(f"/{owner}"):
        return name.removesuffix(f"/{owner}").rpartition("/")[2]
    flat = owner.replace("/", "_") + "_"
    return slot.removeprefix(flat) if slot.startswith(flat) else None


def followers(roles: Mapping[str, Role]) -> dict[str, list[str]]:
    """Return, for each variable that has any, the slots and moving averages that belong to it."""
    found: dict[str, list[str]] = {}
    for name, role in roles.items():
        if role.of is not None:
            found.setdefault(role.of, []).append(name)
    return found


def owners_first(roles: Mapping[str, Role]) -> list[str]:
    """Return all names, each variable before the slots and moving averages that belong to it."""
    belonging = followers(roles)
    ordered = [name for name, role in roles.items() if role.of not in roles]
    for name in ordered:  # which grows meanwhile
        ordered.extend(belonging.get(name, ()))
    return ordered


def is_beta_power(name: str) -> bool:
    """Return whether `name` is a power of one of Adam's betas, which no default value suits."""
    return _without_number(name.rpartition("/")[2]) in _BETA_POWERS


def is_of_optimizer(name: str) -> bool:
    """Return whether a counter lies in the scope of an optimizer: `adam/iteration`, but no `global_step`."""
    scope, _, leaf = name.rpartition("/")
    return _ENDS_IN_OPTIMIZER.search(f"{scope}/") is not None and _without_number(leaf) != "global_step"


def is_object_based(variables: Mapping[str, object]) -> bool:
    """Return whether these are the keys of an object-based (TF2) checkpoint."""
    return OBJECT_GRAPH in variables


# The initial values that TensorFlow's optimizers give their slots where it is not zero. The names are
# those that the optimizers have by default; `_1` is an optimizer's second slot of a variable.
_SLOT_VALUES = {
    "Adagrad": 0.1,
    "AdagradDA_1": 0.1,
    "ProximalAdagrad": 0.1,
    "Ftrl": 0.1,
    "RMSProp": 1.0,
}
_ZERO_SLOTS = {
    *("Adam", "Adam_1", "Adadelta", "Adadelta_1", "Momentum", "AdagradDA", "Ftrl_1", "RMSProp_1"),
    *("RMSProp_2", "adam_m", "adam_v", "LARSOptimizer"),
}
_KNOWN_SLOTS = {*_SLOT_VALUES, *_ZERO_SLOTS, "ExponentialMovingAverage"}


_OF_KERAS = re.compile(
    r"(^|/)(adam|adam_?w|adamax|nadam|sgd|rm_?sprop|adadelta|adagrad|ftrl|lion|lamb|adafactor|muon)(_\d+)?/",
    re.IGNORECASE,
)


def initial_slot_value(name: str) -> tuple[float, bool]:
    """Return the value that the slot `name` starts with, and whether its optimizer is known.

    Slots of optimizers that are not known start with zero, as most do.

    Args:
        name: What its optimizer calls it: a graph's name, or a full name of Keras, which had them as
            `Adagrad/w/accumulator`, then `Adagrad/accumulator/w`, and has `adagrad/w_accumulator`.

    Source: tensorflow/python/training (adagrad.py, adagrad_da.py, proximal_adagrad.py, ftrl.py,
    rmsprop.py, adam.py, adadelta.py, momentum.py); keras/src/optimizers.
    """
    slot = name.rpartition("/")[2]
    keras = _OF_KERAS.search(name)
    if keras is not None:
        accumulates = re.search(r"(^|/|_)accumulator(_\d+)?(/|\Z)", name[keras.end() - 1 :])
        return (0.1 if keras[2].lower() in ("adagrad", "ftrl") and accumulates else 0.0), True
    return _SLOT_VALUES.get(slot, 0.0), slot in _KNOWN_SLOTS
