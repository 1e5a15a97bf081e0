"""Random Keras 3 models: described as data, built as often as a test likes, trained to the same bits each time.

    spec = random_spec(seed)                # data: what the model is made of, with which optimizer
    model = build(spec)                     # a compiled Keras model; its optimizer is not built yet
    train(model, spec, range(4))            # one batch a step, the same for every model of this spec
    state(model)                            # the bits of all that training changes

Two builds of one spec differ in their initial values, and in nothing else: what is trained from equal states
with equal steps is equal, bit for bit. `renamed`, `wrapped` and `with_head` give the spec of a changed model. `seeds` says for how many a test runs.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from tests.tensorflow import tf

keras = tf.keras
layers = keras.layers

BATCH = 4
VOCABULARY = 7


@dataclass(frozen=True)
class Layer:
    """A layer with or without weights.

    Attributes:
        kind: A key of `_MAKERS`.
        name: Of the layer; `None` lets Keras name it.
        size: Its units or filters, where it has any.
        trainable: Whether it is trained.
    """

    kind: str
    name: str | None
    size: int = 0
    trainable: bool = True


@dataclass(frozen=True)
class Block:
    """A model in the model: a scope of its own in the paths of weights.

    Attributes:
        name: Of the inner model; `None` lets Keras name it.
        parts: What it consists of, in order.
        kind: How it is written.
    """

    name: str | None
    parts: tuple[Layer | Block, ...]
    kind: Literal["sequential", "subclassed"] = "sequential"


@dataclass(frozen=True)
class Optimizer:
    """An optimizer.

    Attributes:
        kind: The class in `keras.optimizers`.
        options: Its arguments beside the learning rate.
        has_schedule: Whether the learning rate falls by a schedule.
        has_loss_scale: Whether a LossScaleOptimizer is around it.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    has_schedule: bool = False
    has_loss_scale: bool = False


@dataclass(frozen=True)
class Spec:
    """A model.

    Attributes:
        seed: What its batches are drawn from.
        kind: How it is written.
        name: Of the model.
        shape: Of an input, without the batch.
        parts: Its body, in order.
        head: The last layer, a Dense.
        optimizer: What it is compiled with; `None`: not compiled.
    """

    seed: int
    kind: Literal["sequential", "functional", "subclassed"]
    name: str | None
    shape: tuple[int, ...]
    parts: tuple[Layer | Block, ...]
    head: Layer
    optimizer: Optimizer | None


OPTIMIZERS: tuple[Optimizer, ...] = (
    Optimizer("SGD"),
    Optimizer("SGD", {"momentum": 0.9, "nesterov": True}),
    Optimizer("Adam"),
    Optimizer("Adam", {"amsgrad": True, "clipnorm": 1.0}),
    Optimizer("AdamW", {"weight_decay": 0.01}),
    Optimizer("Adamax"),
    Optimizer("Nadam"),
    Optimizer("Adadelta"),
    Optimizer("Adagrad"),
    Optimizer("Adafactor"),
    Optimizer("Ftrl"),
    Optimizer("Lamb"),
    Optimizer("Lion"),
    Optimizer("Muon"),
    Optimizer("RMSprop"),
    Optimizer("RMSprop", {"momentum": 0.9, "centered": True}),
    Optimizer("ScheduleFreeAdamW"),
    Optimizer("MultiOptimizer"),
)
"""Every optimizer of Keras 3, each in the forms that keep different variables."""

_MAKERS = {
    "dense": lambda layer: layers.Dense(layer.size, "tanh", **_named(layer)),
    "batch_norm": lambda layer: layers.BatchNormalization(**_named(layer)),
    "layer_norm": lambda layer: layers.LayerNormalization(**_named(layer)),
    "dropout": lambda layer: layers.Dropout(0.3, **_named(layer)),
    "conv": lambda layer: layers.Conv2D(layer.size, 2, activation="relu", **_named(layer)),
    "flatten": lambda layer: layers.Flatten(**_named(layer)),
    "embedding": lambda layer: layers.Embedding(VOCABULARY, layer.size, **_named(layer)),
    "gru": lambda layer: layers.GRU(layer.size, **_named(layer)),
    "pool": lambda layer: layers.GlobalAveragePooling1D(**_named(layer)),
}
_FRONTS: dict[tuple[int, ...], tuple[tuple[str, ...], ...]] = {
    (3,): ((),),
    (3, 3, 1): (("conv", "flatten"), ("conv", "batch_norm", "flatten")),
    (5,): (("embedding", "pool"), ("embedding", "gru")),
}
"""What turns an input of each shape into features; that of `(5,)` are words."""
_NAMES = ("enc", "body", "trunk", "mid", "proj", "mix", "stem", "out", "fc", "unit", "node", "part")


def seeds(count: int) -> range:
    """Return the seeds of a test: the first `count`, or as many as `RANDOM_SEEDS=500 pytest …` says."""
    return range(int(os.environ.get("RANDOM_SEEDS", count)))


def random_spec(seed: int, *, optimizer: Optimizer | None = None, has_names: bool = True) -> Spec:
    """Return the spec of a random model; the same for the same arguments.

    Args:
        seed: Draws everything.
        optimizer: By default a random one, in some of its forms wrapped.
        has_names: Whether layers and models get names of their own; otherwise Keras gives them, as
            `dense_1` after `dense`.
    """
    draw = random.Random(seed)
    names = _distinct(draw) if has_names else iter(lambda: None, "")
    shape = draw.choice(sorted(_FRONTS))
    front = [_layer(draw, kind, names) for kind in draw.choice(_FRONTS[shape])]
    body: list[Layer | Block] = [_part(draw, names, depth=0) for _ in range(draw.randint(1, 3))]
    parts = (*front, *body)
    if not any(layer.trainable for layer in _layers(parts)):
        parts = (*parts, Layer("dense", next(names), 3))
    return Spec(
        seed,
        draw.choice(["sequential", "functional", "subclassed"]),
        next(names),
        shape,
        parts,
        Layer("dense", "head" if has_names else None, draw.randint(1, 3)),
        optimizer or random_optimizer(draw),
    )


def random_optimizer(draw: random.Random) -> Optimizer:
    """Return an optimizer: averaging, accumulating, scheduled and wrapped at random."""
    optimizer = draw.choice(OPTIMIZERS)
    if optimizer.kind == "MultiOptimizer":
        return optimizer
    options = dict(optimizer.options)
    if draw.random() < 0.3:
        options["use_ema"] = True
        options["ema_overwrite_frequency"] = draw.choice([None, 3])
    if draw.random() < 0.3:
        options["gradient_accumulation_steps"] = draw.randint(2, 3)
    return replace(
        optimizer, options=options, has_schedule=draw.random() < 0.3, has_loss_scale=draw.random() < 0.3
    )


def build(spec: Spec) -> Any:
    """Return a new Keras model of the spec, with values of its own, compiled, its optimizer not built."""
    parts = [_make(part) for part in (*spec.parts, spec.head)]
    named = {} if spec.name is None else {"name": spec.name}
    if spec.kind == "sequential":
        model = keras.Sequential([keras.Input(spec.shape), *parts], **named)
    elif spec.kind == "functional":
        inputs = keras.Input(spec.shape)
        model = keras.Model(inputs, _through(parts, inputs), **named)
    else:
        model = Chain(parts, **named)
        model(batch(spec, 0)[0])
    if spec.optimizer is not None:
        model.compile(make_optimizer(spec.optimizer), "mse", run_eagerly=True)
    return model


def make_optimizer(optimizer: Optimizer) -> Any:
    """Return a new optimizer of Keras."""
    if optimizer.kind == "MultiOptimizer":
        inner = {".*bias": keras.optimizers.SGD(0.01, momentum=0.9)}
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.01), inner)
        )
    rate: Any = 0.01
    if optimizer.has_schedule:
        rate = keras.optimizers.schedules.ExponentialDecay(0.01, decay_steps=2, decay_rate=0.7)
    made = getattr(keras.optimizers, optimizer.kind)(rate, **optimizer.options)
    if optimizer.has_loss_scale:
        made = keras.optimizers.LossScaleOptimizer(made, initial_scale=8.0, dynamic_growth_steps=3)
    return made


def batch(spec: Spec, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and the targets of a step."""
    rng = np.random.default_rng([spec.seed, step])
    targets = rng.normal(size=(BATCH, spec.head.size)).astype("f")
    if spec.shape == (5,):
        return rng.integers(0, VOCABULARY, (BATCH, *spec.shape)), targets
    return rng.normal(size=(BATCH, *spec.shape)).astype("f"), targets


def train(model: Any, spec: Spec, steps: Iterable[int]) -> None:
    """Train a model of `spec` on one batch a step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of gradients that frozen parts do not have
        for step in steps:
            model.train_on_batch(*batch(spec, step))


def state(model: Any) -> list[tuple[tuple[int, ...], bytes]]:
    """Return shape and bits of all variables of a model and its optimizer, in Keras's order."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else [])]
    return [(tuple(variable.shape), variable.numpy().tobytes()) for variable in variables]


def renamed(spec: Spec, names: Mapping[str, str]) -> Spec:
    """Return a spec with other names for the model, its parts and its head."""

    def other(part: Any) -> Any:
        part = replace(part, name=names.get(part.name, part.name))
        return replace(part, parts=tuple(map(other, part.parts))) if isinstance(part, Block) else part

    return replace(
        spec, name=names.get(spec.name, spec.name), parts=tuple(map(other, spec.parts)), head=other(spec.head)
    )


def wrapped(spec: Spec, scope: str) -> Spec:
    """Return a spec whose whole body is in an inner model called `scope`; its head is not."""
    return replace(spec, parts=(Block(scope, spec.parts, "subclassed"),))


def with_head(spec: Spec, size: int) -> Spec:
    """Return a spec with a head of another size."""
    return replace(spec, head=replace(spec.head, size=size))


@keras.utils.register_keras_serializable("random_models")
class Chain(keras.Model):
    """Parts in a row, each an attribute of its own. Keras calls it `chain`, unless it is named."""

    def __init__(self, parts: list[Any], **named: Any) -> None:
        super().__init__(**named)
        for number, part in enumerate(parts):
            setattr(self, f"part_{number}", part)
        self._number = len(parts)

    def call(self, x: Any, training: bool = False) -> Any:
        return _through([getattr(self, f"part_{number}") for number in range(self._number)], x)


def _make(part: Layer | Block) -> Any:
    if isinstance(part, Layer):
        return _MAKERS[part.kind](part)
    made = [_make(each) for each in part.parts]
    named = {} if part.name is None else {"name": part.name}
    return keras.Sequential(made, **named) if part.kind == "sequential" else Chain(made, **named)


def _named(layer: Layer) -> dict[str, Any]:
    return {"trainable": layer.trainable, **({} if layer.name is None else {"name": layer.name})}


def _through(parts: list[Any], x: Any) -> Any:
    for part in parts:
        x = part(x)
    return x


def _part(draw: random.Random, names: Iterator[str | None], depth: int) -> Layer | Block:
    if depth < 2 and draw.random() < 0.3:
        parts = tuple(_part(draw, names, depth + 1) for _ in range(draw.randint(1, 2)))
        return Block(next(names), parts, draw.choice(["sequential", "subclassed"]))
    return _layer(draw, draw.choice(["dense", "dense", "batch_norm", "layer_norm"]), names)


def _layer(draw: random.Random, kind: str, names: Iterator[str | None]) -> Layer:
    return Layer(kind, next(names), draw.randint(2, 4), trainable=draw.random() < 0.85)


def _layers(parts: Iterable[Layer | Block]) -> Iterator[Layer]:
    for part in parts:
        if isinstance(part, Block):
            yield from _layers(part.parts)
        else:
            yield part


def _distinct(draw: random.Random) -> Iterator[str]:
    """Yield names that do not repeat, and of which none begins another's scope by chance."""
    number = 0
    while True:
        for name in draw.sample(_NAMES, len(_NAMES)):
            yield f"{name}{number}" if number else name
        number += 1
