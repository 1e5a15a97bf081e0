"""Files of weights for a user's Keras model: in Keras 3's layout or the legacy one, proved by loading.

What a file needs to know of a model, only that has: for the one the classes of its layers, for the other the
order in which Keras lists the weights of each.

Source: keras/src/saving/saving_lib.py; keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import tensorflow as tf

from toolkit import dtypes
from toolkit.change.export import PRODUCER
from toolkit.change.matching import Matching
from toolkit.change.plan import FilePlan, refuse_source
from toolkit.change.rules import Rules, Target, copied
from toolkit.change.unchanged import refuse_changed
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import MismatchError, ModelError
from toolkit.graph.keras_loading import ask_keras
from toolkit.graph.model_function import call
from toolkit.graph.trackables import place_of, variables_of
from toolkit.plan import Advice, Verdict
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
        advice: Advice,
    ) -> None:
        super().__init__(verdicts, results, [source], unused=unused, advice=advice)
        self._model = model

    def save(self, out: str | os.PathLike[str], *, force: bool = False, sync: bool = True) -> None:
        """Write the weights to `out`, let Keras load them, and compare.

        Args:
            out: A path ending in `.weights.h5`, which Keras writes itself; or one ending in `.h5`, for
                the legacy layout.
            force: Replace the file there.
            sync: Make it survive a power loss.

        Raises:
            PlanError: It cannot be carried out; nothing was done.
            PublishError: It exists, or the system refuses something.
            FormatError, ReadError: The checkpoint is damaged.
            MismatchError: Keras loads something else than was written.
        """
        self.check()
        refuse_changed(self.files)
        out = os.fspath(out)
        refuse_source(out, self.sources)
        model = self._model
        weights = {weight.path: weight for weight in model.weights}
        ways: list[dict[str, Any]] = [{}]
        if not out.endswith(SUFFIX) and len({layer.name for layer in model.layers}) == len(model.layers):
            ways.append({"by_name": True})
        with Publication(out, force=force, sync=sync) as publication:
            staged = publication.staged(os.path.basename(out))
            values = {path: variable.load() for path, variable in self.results.items()}
            if out.endswith(SUFFIX):
                for path, value in values.items():
                    weights[path].assign(value)
                model.optimizer = None  # its state is not the checkpoint's
                model.save_weights(staged)
            else:
                self._write_legacy(staged)

            def check() -> None:
                for options in ways:
                    for weight in weights.values():
                        weight.assign(tf.zeros_like(weight))
                    try:
                        model.load_weights(staged, **options)
                    except Exception as error:  # whatever Keras raises
                        raise ModelError(
                            f"{out}: Keras does not load it into this model: {' '.join(str(error).split())}",
                            hint="its other layout may do: --layout keras3, or --layout keras",
                        ) from error
                    for path, value in values.items():
                        if weights[path].numpy().tobytes() != value.tobytes():
                            what = f"{out}: {path} was not written as it is"
                            raise MismatchError(what, name=path, expected="the same", found="other values")

            publication.publish(check=check)

    def _write_legacy(self, path: str) -> None:
        """Write the new file `path` in Keras's legacy layout, weights in the order that the model gives."""
        from toolkit.formats.hdf5 import keras_layout, writer

        model = self._model
        own = {id(weight) for weight in model.weights}
        top = [w for w in model._trainable_variables + model._non_trainable_variables if id(w) in own]
        layers = {layer.name: layer.trainable_weights + layer.non_trainable_weights for layer in model.layers}
        names = {layer: [weight.path for weight in weights] for layer, weights in layers.items()}
        given = keras_layout.layers_given({**names, **keras_layout.top_level([w.path for w in top])})
        options = writer.Options(layout="keras", layers=given)
        attributes = {"producer": PRODUCER, "source": os.path.basename(self.sources[0].path)}
        writer.write(path, self.results.values(), attributes=attributes, options=options)


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
    weights = {weight.path: weight for weight in model.weights}
    known = variables_of(model)
    prefix = place_of(known, checkpoint)
    keys = {id(variable): (prefix + key,) for key, variable in known.items()}
    targets = {
        path: Target(
            dtypes.as_dtype(str(weight.dtype)), tuple(weight.shape), aliases=keys.get(id(weight), ())
        )
        for path, weight in weights.items()
    }
    called = ask_keras(model, checkpoint).names
    matching = Matching(checkpoint, targets, Rules(rename=rename, offers=False), called=called)
    made = copied(matching.fates(), targets, checkpoint.variables())
    verdicts = list(made.verdicts.values())
    return WeightsPlan(verdicts, made.results, checkpoint, model, made.unused, matching.advice())
