"""Random TF1 graphs, and changes of their names that are known: scopes added, dropped, renamed; a head changed.

    layout = random_layout(seed)            # names and shapes of variables, and an optimizer
    changed, origins = changed_layout(layout, seed)
    graph(changed)                          # variables, slots, powers and a global step in a new tf.Graph

`origins` maps each name of the changed layout to the name that it had, and so says what a restore should take.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.tensorflow import tf

v1 = tf.compat.v1

SEGMENTS = ("enc", "body", "trunk", "mid", "proj", "mix", "stem", "out", "fc", "unit", "node", "part")
OPTIMIZERS: dict[str, Callable[[], object]] = {
    "none": lambda: None,
    "Adam": v1.train.AdamOptimizer,
    "Momentum": lambda: v1.train.MomentumOptimizer(0.1, 0.9),
    "RMSProp": lambda: v1.train.RMSPropOptimizer(0.1),
    "Adagrad": lambda: v1.train.AdagradOptimizer(0.1),
    "Ftrl": lambda: v1.train.FtrlOptimizer(0.1),
}


@dataclass(frozen=True)
class Layout:
    """What a graph is made of.

    Attributes:
        shapes: Of the trainable variables, by name.
        optimizer: A key of `OPTIMIZERS`.
        scope: The scope that the optimizer is made in; `""` for none.
    """

    shapes: dict[str, tuple[int, ...]]
    optimizer: str
    scope: str = ""


def random_layout(seed: int, *, alike: bool = False) -> Layout:
    """Return a random layout, the same for the same seed.

    Args:
        seed: Draws everything.
        alike: Whether layers may have the shapes of others, so that names alone can tell them apart.
    """
    draw = random.Random(f"layout {seed}")
    names = draw.sample(SEGMENTS, len(SEGMENTS))
    outer = f"{names.pop()}/" if draw.random() < 0.4 else ""
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(draw.randint(1, 3)):
        scope = f"{outer}{names.pop()}"
        inner = [f"{scope}/layer_{i}" for i in range(draw.randint(1, 3))] if draw.random() < 0.5 else [scope]
        for i, layer in enumerate(inner):
            width = 4 if alike else 10 * number + i + 1
            shapes[f"{layer}/kernel"] = (4, width)
            shapes[f"{layer}/bias"] = (width,)
    shapes[f"{outer}head/kernel"], shapes[f"{outer}head/bias"] = (4, 99), (99,)
    return Layout(shapes, draw.choice(sorted(OPTIMIZERS)))


def changed_layout(layout: Layout, seed: int) -> tuple[Layout, dict[str, str]]:
    """Return a layout with one to three changes, and the name that each of its variables had before."""
    draw = random.Random(f"changes {seed}")
    origins = {name: name for name in layout.shapes}
    shapes = dict(layout.shapes)
    for kind in draw.sample(["add", "drop", "rename", "rename", "head", "optimizer"], draw.randint(1, 3)):
        names = list(origins)
        moved = {name: name for name in names}
        if kind == "add":
            moved = {name: f"added/{name}" for name in names}
        elif kind == "drop" and len({name.partition("/")[0] for name in names}) == 1:
            moved = {name: name.partition("/")[2] for name in names}
        elif kind == "rename":
            scopes = sorted({name[:i] for name in names for i, c in enumerate(name) if c == "/"})
            scope = draw.choice(scopes)
            new = f"{scope.rpartition('/')[0]}/renamed{draw.randint(10, 99)}".lstrip("/")
            moved = {n: new + n[len(scope) :] if n.startswith(f"{scope}/") else n for n in names}
        elif kind == "head":
            shapes |= {n: (*s[:-1], 77) for n, s in shapes.items() if s[-1] == 99}
        else:
            layout = replace(layout, scope="train")
        if all("/" in name for name in moved.values()) and len(set(moved.values())) == len(moved):
            shapes = {moved[name]: shape for name, shape in shapes.items()}
            origins = {moved[name]: origin for name, origin in origins.items()}
    return replace(layout, shapes=shapes), origins


def graph(layout: Layout) -> tf.Graph:
    """Return a new graph with the layout's variables, its optimizer's slots, and a global step."""
    made = tf.Graph()
    with made.as_default():
        step = v1.train.get_or_create_global_step()
        variables = [v1.get_variable(name, shape) for name, shape in layout.shapes.items()]
        optimizer = OPTIMIZERS[layout.optimizer]()
        if optimizer is not None:
            loss = tf.add_n([tf.reduce_sum(variable) for variable in variables])
            with v1.variable_scope(layout.scope) if layout.scope else v1.variable_scope(""):
                optimizer.minimize(loss, step)
    return made


def shapes_of(made: tf.Graph) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all global variables of a graph, by name."""
    variables = made.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
    return {variable.op.name: tuple(variable.shape.as_list()) for variable in variables}
