"""The optimizer of a compiled Keras model, also before it is built, which Keras does at the first step.

A plan must know them, and must change nothing. So it looks at a copy that is built; the optimizer itself is
built when the plan is carried out.

Source: keras/src/optimizers/base_optimizer.py (build, save_own_variables, load_own_variables);
keras/src/trainers/trainer.py, _symbolic_build.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from toolkit.errors import MismatchError, ModelError


class Unbuilt:
    """A variable that the optimizer of a model will have when it is built.

    Args:
        model: A compiled Keras model.
        index: Which of the optimizer's variables.
        like: That of the copy.
    """

    def __init__(self, model: Any, index: int, like: Any) -> None:
        self._model = model
        self._index = index
        self.dtype = like.dtype
        self.shape = tuple(like.shape)
        self.path: str = like.path

    def made(self) -> Any:
        """Return the variable; the optimizer is built now if it is not, as Keras does when it first trains.

        Raises:
            MismatchError: The model trains other variables than when the plan was made.
        """
        optimizer = self._model.optimizer
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        variables = kept_by(optimizer)
        made = variables[self._index] if self._index < len(variables) else None
        found = None if made is None else (made.dtype, tuple(made.shape))
        if found != (self.dtype, self.shape):
            raise MismatchError(
                f"{self.path}: the model trains other variables than when the plan was made",
                name=self.path,
                expected=(self.dtype, self.shape),
                found=found,
                hint="make the plan again",
            )
        return made


def optimizer_of(model: Any) -> Any:
    """Return the optimizer that a Keras model is compiled with; `None` without one."""
    optimizer = getattr(model, "optimizer", None)
    return optimizer if isinstance(optimizer, tf.keras.optimizers.Optimizer) else None


@contextlib.contextmanager
def as_if_built(model: Any) -> Iterator[Any]:
    """Let a Keras model have, for the time of the context, a copy of its optimizer that is built.

    What is built already stays in its place.

    Yields:
        The optimizer that the model has; `None` without one.

    Raises:
        ModelError: The optimizer cannot be copied.
    """
    optimizer = optimizer_of(model)
    if optimizer is None or optimizer.built or not model.trainable_variables:
        yield optimizer
        return
    try:
        with tf.device("CPU:0"):
            copy = type(optimizer).from_config(optimizer.get_config())
            copy.build(model.trainable_variables)
    except Exception as error:  # whatever an optimizer of a user's own raises
        raise ModelError(
            f"{optimizer.name}: is not built, and cannot be copied: {' '.join(str(error).split())}",
            hint="build it first: model.optimizer.build(model.trainable_variables)",
        ) from error
    try:
        model.optimizer = copy
        yield copy
    finally:
        model.optimizer = optimizer


def kept_by(optimizer: Any) -> list[Any]:
    """Return the variables that an optimizer keeps, in Keras's order; none if it is `None`.

    Those that Keras does not know of come last: `untracked` has them.
    """
    return [] if optimizer is None else [*optimizer.variables, *untracked(optimizer).values()]


def untracked(optimizer: Any) -> dict[str, Any]:
    """Return, by readable names, what an optimizer keeps and Keras does not know of, and does not save.

    LossScaleOptimizer builds the optimizer in it while Keras tracks no attributes, and so does not know of
    what that one keeps as an attribute alone: of Nadam's product of momentum coefficients.

    Source: keras/src/optimizers/loss_scale_optimizer.py, build; nadam.py, build.
    """
    known = {id(variable) for variable in optimizer.variables}
    found = {}
    for each in (
        optimizer,
        getattr(optimizer, "inner_optimizer", None),
        *getattr(optimizer, "optimizers", ()),
    ):
        for name, value in vars(each).items() if each is not None else ():
            if isinstance(value, tf.keras.Variable) and id(value) not in known:
                found[f"{each.name}/{name.lstrip('_')}"] = value
    return found


def starting_as_weights(found: Any) -> list[Any]:
    """Return the slots of an optimizer that start as the values of their variables, not as a constant.

    Source: keras/src/optimizers/schedule_free_adamw.py, build.
    """
    if not isinstance(found, tf.keras.optimizers.ScheduleFreeAdamW) or not found.built:
        return []
    return [slot for slot in found._momentums if slot is not None]


def random_states(model: Any) -> list[Any]:
    """Return the states of a Keras model's seed generators (of Dropout and the like), in Keras's order."""
    own = {id(weight) for weight in model.weights}
    metrics = {id(variable) for variable in getattr(model, "metrics_variables", ())}
    return [v for v in model.variables if id(v) not in own and id(v) not in metrics]
