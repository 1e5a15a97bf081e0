"""Renames that a plan proposes for Keras models: typed until there are none, they undo what was changed.

A random model is saved, and built again with other names, its body in a scope of its own, or another head.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from tests.tensorflow import random_models, tf
from tests.tensorflow.random_models import Spec, renamed, with_head, wrapped
from toolkit import plan_restore
from toolkit.graph.contradictions import without_contradictions

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")

# Keras counts layers of a class: in a changed model `dense` is another layer
PATHS = {"layers/dense/vars/0": "body/kernel", "layers/dense_1/vars/0": "head/kernel"}


def changed(spec: Spec, seed: int) -> tuple[Spec, dict[str, str], set[str]]:
    """Return a changed model, what its parts were called before, and what was done to it."""
    draw = random.Random(f"changes {seed}")
    names = {
        part.name: f"new_{part.name}" for part in draw.sample([*spec.parts, spec.head], draw.randint(0, 2))
    }
    done = {"renamed"} if names else set()
    made = renamed(spec, names)
    if draw.random() < 0.4:
        made = wrapped(made, "added")
        done.add("wrapped")
    if draw.random() < 0.3 or not done:
        made = with_head(made, spec.head.size + 5)
        done.add("head")
    return made, {new: old for old, new in names.items()}, done


def saved(model, folder) -> Iterator[tuple[str, str]]:
    """Save a model in three ways; yield each with its path."""
    model.save_weights(folder / "m.weights.h5")
    yield "weights", str(folder / "m.weights.h5")
    if not any(isinstance(part, random_models.Chain) for part in model._flatten_layers()):
        model.save(folder / "m.keras")  # a subclassed model of theirs has no configuration
        yield "archive", str(folder / "m.keras")
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    yield "objects", checkpoint.write(str(folder / "m"))


def followed(path, model):
    """Type what is proposed until nothing is; return the last plan. Never is less restored than before."""
    renames: list[str] = []
    before: set[str] = set()
    while True:
        plan = plan_restore(path, model, rename=renames, on_missing="init", on_shape="init")
        restored = {verdict.name for verdict in plan if verdict.action == "restore"}
        assert before <= restored, f"{renames} lose {before - restored}"
        before = restored
        if not plan.advice.renames:
            return plan
        renames += plan.advice.renames


def place(path: str, back: dict[str, str]) -> tuple[str, str]:
    """The layer and the weight: the names of layers are unique."""
    layer, weight = path.split("/")[-2:]
    return back.get(layer, layer), weight


def names_its_layers(spec: Spec, way: str) -> bool:
    """Whether the file tells the names of layers: of subclassed models TensorFlow writes `model/kernel`."""
    return not (way == "objects" and spec.kind == "subclassed")


def is_constant(values: np.ndarray) -> bool:
    """Whether values are those that many variables begin with."""
    return bool((values == values.flat[0]).all())


def kept(model) -> list[bytes]:
    """The bits of what the optimizer keeps; Keras saves no states of seed generators."""
    return [variable.numpy().tobytes() for variable in model.optimizer.variables]


def is_saved_whole(spec: Spec, way: str) -> bool:
    """Whether all that the optimizer keeps is saved: TensorFlow leaves out what is in a MultiOptimizer, and
    Keras what Nadam keeps in a LossScaleOptimizer."""
    optimizer = spec.optimizer
    is_inside = optimizer.kind == "Nadam" and optimizer.has_loss_scale
    return not is_inside and not (way == "objects" and optimizer.kind == "MultiOptimizer")


@pytest.mark.parametrize("seeds", [range(16), range(16, 32)], ids=str)
def test_typing_what_is_proposed_undoes_the_changes(tmp_path, seeds):
    for seed in seeds:
        spec = random_models.random_spec(seed)
        model = random_models.build(spec)
        random_models.train(model, spec, range(1))
        expected = {place(weight.path, {}): weight.numpy() for weight in model.weights}
        made, back, done = changed(spec, seed)
        (tmp_path / f"{seed}").mkdir()
        for way, path in saved(model, tmp_path / f"{seed}"):
            target = random_models.build(made)
            followed(path, target).apply()
            is_named = names_its_layers(spec, way) or "wrapped" not in done
            for weight in target.weights:
                value, now = expected[place(weight.path, back)], weight.numpy()
                where = f"seed {seed}, {way}, {done}: {weight.path}"
                if value.shape == now.shape and is_named:
                    assert np.array_equal(now, value), where
                elif value.shape == now.shape:
                    taken = [place for place, other in expected.items() if np.array_equal(now, other)]
                    assert taken in ([], [place(weight.path, back)]) or is_constant(now), where
            if "head" not in done and is_named and is_saved_whole(spec, way):
                assert kept(target) == kept(model), f"seed {seed}, {way}, {done}"


def test_a_layer_that_the_model_has_elsewhere_is_left_to_its_name():
    loaded = {"layers/dense/vars/0": "head/kernel"}
    assert without_contradictions(loaded, PATHS, ["head/kernel", "added/body/kernel"]) == {}


def test_a_layer_that_is_called_otherwise_is_believed():
    loaded = {"layers/dense/vars/0": "trunk/kernel", "layers/dense_1/vars/0": "head/kernel"}
    assert without_contradictions(loaded, PATHS, ["trunk/kernel", "head/kernel"]) == loaded


def test_names_that_keras_made_say_nothing():
    paths = {"layers/dense/vars/0": "dense_2/kernel", "layers/dense_1/vars/0": "dense_3/kernel"}
    loaded = {"layers/dense/vars/0": "dense_3/kernel", "layers/dense_1/vars/0": "dense_4/kernel"}
    assert without_contradictions(loaded, paths, ["dense_3/kernel", "dense_4/kernel"]) == loaded
