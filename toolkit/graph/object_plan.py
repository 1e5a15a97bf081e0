"""A plan over variables that live: of a Keras model, a `tf.Module`, a `tf.train.Checkpoint`.

They have values since they were made, so that what is not restored keeps its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit import casting, initializers
from toolkit.change.unchanged import refuse_changed, states_of
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import as_dtype
from toolkit.formats.read_back import check_value
from toolkit.graph.deferred import restore_by_tensorflow
from toolkit.graph.living import Living
from toolkit.graph.optimizers import Unbuilt
from toolkit.plan import Advice, Plan, Verdict

_SEED_BITS = 31


class ObjectPlan(Plan):
    """A plan over variables that live.

    Args:
        verdicts: What to do with each. One that is to be initialized has its initializer.
        root: Whose variables they are.
        living: These variables.
        checkpoint: Where values are restored from.
        stored: The checkpoint's variable that each restored one comes from, by the model's name.
        unused: Names in the checkpoint that nothing takes.
        notes: What else is good to know, in sentences.
        advice: As `Plan`.
        seed: For the values that are drawn; without one, one is drawn if there are such.
    """

    is_named_by_role = False  # Keras calls slots after itself

    def __init__(
        self,
        verdicts: Iterable[Verdict],
        root: Any,
        living: Living,
        *,
        checkpoint: Checkpoint,
        stored: Mapping[str, Variable],
        unused: Sequence[str] = (),
        seed: int | None = None,
        notes: Iterable[str] = (),
        advice: Advice | None = None,
    ) -> None:
        verdicts = list(verdicts)
        specs = (initializers.parse(v.initializer) for v in verdicts if v.initializer)
        if seed is None and any(initializers.is_random(spec) for spec in specs):
            seed = secrets.randbits(_SEED_BITS)
        super().__init__(
            verdicts,
            origin=checkpoint.path,
            unused=unused,
            seed=seed,
            files=states_of(checkpoint),
            notes=notes,
            advice=advice,
            checkpoint=checkpoint,
        )
        self._root = root
        self._start = living.start
        self._variables = dict(living.variables)
        self._keys = {name: target.key for name, target in living.targets.items() if target.key is not None}
        self._stored = dict(stored)

    def apply(self, *, verify: bool = False) -> None:
        """Give every variable of the plan its value; what is deferred gets it when it is made.

        An optimizer that is not built yet is, if it gets anything.

        Args:
            verify: Then read every restored variable back, and compare its CRC-32C with the checkpoint's.

        Raises:
            PlanError: The plan cannot be carried out; nothing was done.
            FormatError, ReadError: The checkpoint is damaged. What was restored before stays so.
            MismatchError: The checkpoint has changed since the plan was made, a value does not fit the dtype
                that it is cast to, or a variable has another value than the checkpoint.
            ModelError: TensorFlow does not restore what is left to it.
        """
        self.check()
        refuse_changed(self.files)
        variables = {
            verdict.name: _made(self._variables[verdict.name])
            for verdict in self.verdicts
            if verdict.action != "keep" and verdict.name not in self._keys
        }
        copies = {}
        for verdict in self.verdicts:
            if verdict.action == "copy":
                copies[verdict.name] = str(verdict.source)
            elif verdict.name in variables:
                variables[verdict.name].assign(self._value(verdict))
        for name, source in copies.items():
            origin = source
            for _ in copies:  # a chain is no longer than this
                origin = copies.get(origin, origin)
            variables[name].assign(_made(self._variables[origin]))
        left = {v.name: self._keys[v.name] for v in self.verdicts if v.name in self._keys}
        left = {v.name: left[v.name] for v in self.verdicts if v.name in left and v.action != "keep"}
        for name in left:  # which TensorFlow compares with their checksums only when it takes them
            if self._stored[name].dtype.kind != "handle":  # whose values are read by TensorFlow alone
                for _ in self._stored[name].chunks():
                    pass
        if left:
            restore_by_tensorflow(self._root, str(self.origin), self._start, left.values())
        if verify:
            for verdict in self.verdicts:
                if verdict.action == "restore" and verdict.name in variables:
                    check_value(verdict.name, variables[verdict.name].numpy(), self._stored[verdict.name])

    def _value(self, verdict: Verdict) -> np.ndarray[Any, Any]:
        """Return what a variable is given."""
        dtype = as_dtype(verdict.dtype)
        if verdict.action == "initialize":
            spec = initializers.parse(verdict.initializer or "zeros")
            return initializers.values(
                spec, verdict.shape or (), dtype, seed=self.seed or 0, name=verdict.name
            )
        stored = self._stored[verdict.name]
        values = stored.load()
        if stored.dtype is not dtype:
            values = casting.cast(values, dtype, verdict.name)
        if verdict.action == "overlap":
            whole = np.array(_made(self._variables[verdict.name]).numpy())
            common = tuple(slice(min(sizes)) for sizes in zip(whole.shape, values.shape, strict=True))
            whole[common] = values[common]
            return whole
        return values


def _made(variable: Any) -> Any:
    """Return a variable, which is made now if its optimizer is not built yet."""
    return variable.made() if isinstance(variable, Unbuilt) else variable
