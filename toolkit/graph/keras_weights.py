"""Keras 3's own files of weights (`.weights.h5`), for a user's model: written by Keras, proved by loading.

The names in such a file come from the classes of the layers, so that it takes the model to write it.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import tensorflow as tf

from toolkit import dtypes, names, renaming
from toolkit.change.importing import by_new_names
from toolkit.change.plan import FilePlan, refuse_source
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import MismatchError, ModelError
from toolkit.graph.keras_loading import ask_keras
from toolkit.graph.model_function import call
from toolkit.plan import Verdict
from toolkit.publish import Publication
from toolkit.renaming import Renames

SUFFIX = ".weights.h5"


class WeightsPlan(FilePlan):
    """A plan for the weights of a Keras model: a verdict for each, by its path."""

    def __init__(
        self,
        verdicts: list[Verdict],
        results: dict[str, Variable],
        source: Checkpoint,
        model: Any,
        unused: list[str],
    ) -> None:
        super().__init__(verdicts, results, [source], unused=unused)
        self._model = model

    def save(self, out: str | os.PathLike[str], *, force: bool = False, sync: bool = True) -> None:
        """Give the model the values, let Keras save its weights to `out`, load them again and compare.

        Args:
            out: A path ending in `.weights.h5`.
            force: Replace the file there.
            sync: Make it survive a power loss.

        Raises:
            PlanError: It cannot be carried out; nothing was done.
            PublishError: It exists, or the system refuses something.
            FormatError, ReadError: The checkpoint is damaged.
            MismatchError: Keras loads something else than was written.
        """
        self.check()
        out = os.fspath(out)
        refuse_source(out, self.sources)
        values = {name: variable.load() for name, variable in self.results.items()}
        weights = {weight.path: weight for weight in self._model.weights}
        with Publication(out, force=force, sync=sync) as publication:
            for path, value in values.items():
                weights[path].assign(value)
            staged = publication.staged(os.path.basename(out))
            self._model.save_weights(staged)

            def check() -> None:
                for weight in weights.values():
                    weight.assign(tf.zeros_like(weight))
                self._model.load_weights(staged)
                for path, value in values.items():
                    if weights[path].numpy().tobytes() != value.tobytes():
                        what = f"{out}: {path} was not written as it is"
                        raise MismatchError(what, name=path, expected="the same", found="other values")

            publication.publish(check=check)


def plan_weights(checkpoint: Checkpoint, spec: str, *, rename: Renames = ()) -> WeightsPlan:
    """Plan to give each weight of a Keras model its value from `checkpoint`, by its path.

    Args:
        checkpoint: Where values come from.
        spec: The function that returns the model: `MODULE:FUNCTION` or `FILE.py:FUNCTION`.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings: OLD is the checkpoint's name, NEW the model's path.

    Raises:
        UsageError, ModelError: The function cannot be found or run, or returns no built Keras model.
        VariableNotFoundError: An OLD matches nothing.
    """
    model = call(spec)
    if not isinstance(model, tf.keras.Model) or not model.weights:
        raise ModelError(
            f"{spec}: returned {type(model).__name__} without weights, expected a Keras model",
            hint="return the model, built: give it a keras.Input, or call it once",
        )
    twice = [path for path, times in Counter(w.path for w in model.weights).items() if times > 1]
    if twice:
        raise ModelError(
            f"{spec}: {twice[0]} is the path of two weights",
            hint="give the layers, or the models in it, names of their own",
        )
    rules = renaming.read_rules(rename)
    renamed = renaming.rename_by_either(checkpoint.roles(), checkpoint.paths(), rules, where=checkpoint.path)
    found = by_new_names(checkpoint, renamed, ask_keras(model, checkpoint).paths)
    verdicts = []
    results = {}
    for weight in model.weights:
        dtype = dtypes.as_dtype(str(weight.dtype))
        shape = tuple(weight.shape)
        variable, why = found.get(weight.path) or (None, "")
        problem = hint = None
        if variable is None:
            near = names.nearest(weight.path, found, count=1)
            problem = f"no {weight.path} in the checkpoint"
            hint = f"--rename {found[near[0]].variable.name if near else 'NAME'}={weight.path}"
        elif (variable.dtype, variable.shape) != (dtype, shape):
            problem = f"{variable.dtype} {variable.shape} in the checkpoint, {dtype} {shape} in the model"
        else:
            results[weight.path] = variable.renamed(weight.path)
        source = None if variable is None else variable.name
        reason = problem or why
        verdicts.append(
            Verdict(weight.path, "copy", source, reason, dtype.name, shape, problem=problem, hint=hint)
        )
    taken = {found[name].variable.name for name in results}
    unused = [name for name in checkpoint.variables() if name not in taken]
    return WeightsPlan(verdicts, results, checkpoint, model, unused)
