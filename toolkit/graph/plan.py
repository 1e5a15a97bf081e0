"""A plan over a live graph, and carrying it out: each variable is restored or initialized, never both.

Restored variables come first, through TensorFlow's own Saver. Then the others are initialized in waves:
a variable whose initial value is computed from another waits until that one has its value. What cannot
go through the Saver (a cast, the overlap of two shapes, a copy) is fed to the variable's own initializer,
which adds nothing to the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from toolkit import casting
from toolkit.change.unchanged import refuse_changed, states_of
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import ModelError
from toolkit.formats.read_back import check_value
from toolkit.graph.failures import reason
from toolkit.graph.saving import has_saver, saver_of
from toolkit.graph.variables import (
    by_name,
    dependencies_of,
    dtype_of,
    ensure_initialized_check,
    initial_value,
    initializers,
    load,
    parts_of,
    read,
    uninitialized,
    whole,
)
from toolkit.plan import Advice, Bytes, Plan, Verdict

_GLOB = "*?[\\"
"""What TensorFlow takes for a pattern in a path (tensorflow/core/platform/file_system.h, MatchPath)."""


class GraphPlan(Plan):
    """A plan over variables of a graph.

    Args:
        verdicts: What to do with each.
        variables: TensorFlow's variables, by name.
        checkpoint: Where values are restored from, if any are.
        stored: The checkpoint's variable that each restored one comes from, by the graph's name.
        together: The copies that are initialized from one draw with what they copy; others take the
            value that it has by then.
        unused: Names in the checkpoint that nothing takes.
        notes: What does not continue, in sentences.
        advice: As `Plan`.
    """

    def __init__(
        self,
        verdicts: Iterable[Verdict],
        variables: Mapping[str, Any],
        *,
        checkpoint: Checkpoint | None = None,
        stored: Mapping[str, Variable] | None = None,
        together: Collection[str] = (),
        unused: Sequence[str] = (),
        seed: int | None = None,
        notes: Iterable[str] = (),
        advice: Advice | None = None,
    ) -> None:
        super().__init__(
            verdicts,
            origin=None if checkpoint is None else checkpoint.path,
            unused=unused,
            seed=seed,
            files=() if checkpoint is None else states_of(checkpoint),
            together=together,
            notes=notes,
            advice=advice,
            checkpoint=checkpoint,
        )
        self._variables = dict(variables)
        self._checkpoint = checkpoint
        self._stored = dict(stored or {})

    @property
    def bytes(self) -> Bytes:
        """What carrying it out, and saving the result, moves."""
        copied = written = 0
        for verdict in self.verdicts:
            if verdict.action == "restore":
                copied += verdict.nbytes
            else:
                written += verdict.nbytes
        return Bytes(0, copied, written)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as the commands' JSON has it, with `bytes`."""
        return {**super().to_dict(), "bytes": self.bytes._asdict()}

    def restored_checksums(self) -> dict[str, int | None]:
        """Return the checkpoint's CRC-32C of each variable that is restored as it is, by name."""
        return {
            verdict.name: self._stored[verdict.name].crc32c
            for verdict in self.verdicts
            if verdict.action == "restore"
        }

    @property
    def init_fn(self) -> Callable[[Any, tf.compat.v1.Session], None]:
        """What `Scaffold(init_op=tf.no_op(), init_fn=…)` takes: it carries the plan out.

        Asking for it adds the Saver's ops to the graph, which must not be finalized yet; calling it none.
        """
        self.prepare()
        return lambda scaffold, session: self.apply(session)

    def prepare(self) -> None:
        """Add to the graph what carrying the plan out needs, so that it can be finalized before."""
        self._saver([v.name for v in self.verdicts if v.action == "restore"])
        for variable in self._variables.values():
            ensure_initialized_check(variable)

    def apply(self, session: tf.compat.v1.Session, *, verify: bool = False) -> None:
        """Give every variable of the plan its value in `session`, then see that each has one.

        Args:
            session: Where.
            verify: Then read every restored variable back, and compare its CRC-32C with the checkpoint's.

        Raises:
            PlanError: The plan cannot be carried out; nothing was done.
            FormatError, ReadError: The checkpoint is damaged.
            MismatchError: The checkpoint has changed since the plan was made, a value does not fit the dtype
                that it is cast to, or a variable has another value than the checkpoint.
            ModelError: An initializer fails, or a variable that another starts from has no value.
        """
        self.check()
        refuse_changed(self.files)
        actions = {verdict.name: verdict.action for verdict in self.verdicts}
        copies = {v.name: str(v.source) for v in self.verdicts if v.action == "copy"}
        together = {new: old for new, old in copies.items() if new in self.together}
        self._refuse_initialized(session, set(together.values()))
        waves = self.waves()
        self._initialize_tables(session)
        self._restore(session, [name for name, action in actions.items() if action == "restore"])
        for name, action in actions.items():
            if action == "cast":
                load(session, self._variables[name], self._cast(name))
        for wave in waves:
            fresh = [name for name in wave if actions[name] == "initialize"]
            self._initialize(session, fresh, together)
            for name in wave:
                if actions[name] == "overlap":
                    self._overlap(session, name)
                elif actions[name] == "copy" and name not in together:
                    load(session, self._variables[name], self._read(session, copies[name]))
        # what the Saver restored it has assigned, or raised; the rest is asked
        rest = {name: v for name, v in self._variables.items() if actions.get(name) != "restore"}
        missing = uninitialized(session, rest)
        if missing:
            raise ModelError(f"left without a value: {', '.join(missing[:5])}")
        if verify:
            for name, action in actions.items():
                if action == "restore":
                    check_value(name, read(session, self._variables[name]), self._stored[name])

    def waves(self) -> list[list[str]]:
        """Return the variables that are not restored in the order in which they get their values.

        Those of one wave depend on none but earlier ones, and on those that are restored.

        Raises:
            ModelError: Some depend on each other in a circle.
        """
        waiting = {
            verdict.name: {str(verdict.source)} if verdict.action == "copy" else set[str]()
            for verdict in self.verdicts
            if verdict.action in ("initialize", "overlap", "copy")
        }
        own = {n: self._variables[n] for n, sources in waiting.items() if not sources}
        for name, depends_on in dependencies_of(own).items():
            waiting[name].update(depends_on)
        waves = []
        while waiting:
            wave = [name for name, needed in waiting.items() if not needed & waiting.keys()]
            if not wave:
                raise ModelError(
                    f"initial values depend on each other: {_circle(waiting)}",
                    hint="let one of them start from something else",
                )
            waves.append(wave)
            for name in wave:
                del waiting[name]
        return waves

    def _initialize_tables(self, session: tf.compat.v1.Session) -> None:
        """Fill the lookup tables of the graph, from which initial values may be computed."""
        tables = session.graph.get_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)
        try:
            session.run(tables)
        except tf.errors.OpError as error:
            raise ModelError(
                f"a lookup table cannot be initialized: {reason(error)}",
                hint="see to the file it is read from",
            ) from error

    def _initialize(
        self, session: tf.compat.v1.Session, names: list[str], together: Mapping[str, str]
    ) -> None:
        """Run the initializers of `names` at once, and copy what was drawn to what starts with it."""
        if not names:
            return
        originals = {_origin(copy, together): None for copy in together}
        fetched = [name for name in names if name in originals]
        try:
            _, values = session.run(
                [
                    [initializers(self._variables[name]) for name in names],
                    [initial_value(self._variables[name]) for name in fetched],
                ]
            )
        except tf.errors.OpError as error:
            raise self._failure(session, names, error) from error
        drawn = {
            name: whole(self._variables[name], value) for name, value in zip(fetched, values, strict=True)
        }
        for copy in together:
            if (origin := _origin(copy, together)) in drawn:
                load(session, self._variables[copy], drawn[origin])

    def _failure(
        self, session: tf.compat.v1.Session, names: list[str], error: tf.errors.OpError
    ) -> ModelError:
        """Return the error that says why initializers failed: a value that they need is missing."""
        everything = by_name(session.graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES))
        for name, needed in dependencies_of({n: self._variables[n] for n in names}).items():
            absent = uninitialized(session, {n: everything[n] for n in needed if n in everything})
            if absent:
                return ModelError(
                    f"{name}: its initial value is computed from {absent[0]}, which has no value",
                    hint=f"initialize or restore {absent[0]} too",
                )
        return ModelError(
            f"an initializer failed: {reason(error)}",
            hint="it must run by itself: without a placeholder, and where this machine has the device",
        )

    def _refuse_initialized(self, session: tf.compat.v1.Session, names: set[str]) -> None:
        """Refuse to draw anew for a copy what has a value already."""
        empty = set(uninitialized(session, {name: self._variables[name] for name in names}))
        for name in sorted(names - empty):
            raise ModelError(
                f"{name}: is initialized already, and running its initializer again draws anew",
                hint='copy its current value: copy_value="current"',
            )

    def _restore(self, session: tf.compat.v1.Session, names: list[str]) -> None:
        """Restore variables through the Saver; where that is not possible, from our own reading."""
        if not names:
            return
        saver = self._saver(names)
        if saver is None:
            for name in names:
                load(session, self._variables[name], self._stored[name].load())
            return
        assert self._checkpoint is not None
        try:
            saver.restore(session, self._checkpoint.path)
        except tf.errors.OpError as error:
            for name in names:  # our own reading says what is wrong, and where
                for _ in self._stored[name].chunks():
                    pass
            raise ModelError(
                f"the model's variables cannot be restored: {reason(error)}",
                hint="the checkpoint itself is sound: see where the model places its variables",
            ) from error

    def _saver(self, names: list[str]) -> tf.compat.v1.train.Saver | None:
        """Return the Saver that restores `names`; `None` where it cannot: it adds ops, and expands globs."""
        if not names or self._checkpoint is None or self._checkpoint.format != "tensorflow-v2":
            return None
        if set(self._checkpoint.path) & set(_GLOB):
            return None
        keys = {self._stored[name].name: self._variables[name] for name in names}
        graph = parts_of(next(iter(keys.values())))[0].graph
        if len(keys) < len(names) or (graph.finalized and not has_saver(keys)):
            return None
        return saver_of(graph, keys)

    def _read(self, session: tf.compat.v1.Session, name: str) -> Any:
        """Return the current value of the variable `name`, of the plan or of the graph around it."""
        if name in self._variables:
            return read(session, self._variables[name])
        collection = session.graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)
        return read(session, by_name(collection)[name])

    def _cast(self, name: str) -> np.ndarray[Any, Any]:
        """Return the stored value of `name` in the dtype of its variable."""
        stored = self._stored[name]
        dtype = dtype_of(self._variables[name])
        values = stored.load()
        return values if stored.dtype is dtype else casting.cast(values, dtype, name)

    def _overlap(self, session: tf.compat.v1.Session, name: str) -> None:
        """Initialize `name`, with what its shape has in common with the stored one copied in."""
        variable = self._variables[name]
        stored = self._cast(name)
        value = np.array(whole(variable, session.run(initial_value(variable))))
        common = tuple(slice(min(sizes)) for sizes in zip(value.shape, stored.shape, strict=True))
        value[common] = stored[common]
        load(session, variable, value)


def _origin(name: str, copies: Mapping[str, str]) -> str:
    """Return what `name` is, through other copies, a copy of."""
    seen = {name}
    while name in copies:
        name = copies[name]
        if name in seen:
            raise ModelError(
                f"copies go in a circle: {' -> '.join([*seen, name])}",
                hint="let one of them start from something else",
            )
        seen.add(name)
    return name


def _circle(waiting: Mapping[str, set[str]]) -> str:
    """Return a circle among `waiting`, each of which needs another: `a -> b -> a`."""
    path = [next(iter(waiting))]
    while path[-1] not in path[:-1]:
        path.append(next(name for name in sorted(waiting[path[-1]]) if name in waiting))
    return " -> ".join(path[path.index(path[-1]) :])
