"""Changing a checkpoint: a chain of edits that makes a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from toolkit import renaming
from toolkit.arguments import checked, text_of
from toolkit.change import operations
from toolkit.change.casts import read_cast
from toolkit.change.drafts import Draft
from toolkit.change.plan import FilePlan
from toolkit.change.reinit import reinitialize
from toolkit.change.results import Progress
from toolkit.checkpoint import Checkpoint
from toolkit.dtypes import DTypeLike, as_dtype
from toolkit.formats.bundle.sharing import DataMode
from toolkit.formats.endings import refuse_ending
from toolkit.formats.opening import as_checkpoint
from toolkit.renaming import Renames
from toolkit.units import count


class Edit:
    r"""What a checkpoint is to become: edits in order, each meaning the names as they are by then.

    Every method returns another `Edit`, which has one step more; nothing is read but the index, and nothing
    written, before `write`.

    ```python
    toolkit.edit("run/m").rename("net", "backbone").drop("**/Adam*").reinit("head", "he_normal").write("new")
    ```

    Patterns are those of the command line: a name, a scope, a glob, or `re:…`. Slots and moving averages
    follow their variable in `rename`, `drop` and `reinit`. In an object-based checkpoint (TF2) names are
    readable names or paths of objects, and its object graph is changed along.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def __repr__(self) -> str:
        return f"<Edit of {self._draft.origin.path!r}: {count(len(self._draft.items), 'variable')}>"

    def rename(self, old: str | Renames, new: str | None = None) -> Edit:
        r"""Rename variables, scopes, or what matches `re:…`, with `\1` in `new` for what a group matched.

        Args:
            old: A name, a scope or `re:…`; or without `new`, `{OLD: NEW}`, `OLD=NEW`, or a function.
            new: What it becomes.

        Raises:
            VariableNotFoundError: `old` means nothing.
            UsageError: It cannot be read, two variables would have one name, or one would have none.
        """
        rules = renaming.read_rules({old: new} if isinstance(old, str) and new is not None else old)
        return self._after(*((lambda draft, rule=rule: operations.rename(draft, rule)) for rule in rules))

    def add_scope(self, scope: str) -> Edit:
        """Put every variable under a scope: `dense/kernel` becomes `SCOPE/dense/kernel`.

        Slots follow their variables: `training/dense/kernel/Adam` becomes `training/SCOPE/dense/kernel/Adam`.
        In an object-based checkpoint the objects move, all but the counter of saves.

        Raises:
            UsageError: `scope` is empty.
        """
        return self._after(lambda draft: operations.add_scope(draft, scope))

    def strip_scope(self, scope: str) -> Edit:
        """Take a scope off the names of all variables under it; the others keep their names.

        Raises:
            VariableNotFoundError: Nothing lies under `scope`.
            UsageError: `scope` is empty, or two variables would have one name.
        """
        rule = renaming.strip_scope(scope)
        return self._after(lambda draft: operations.rename(draft, rule))

    def drop(self, *patterns: str) -> Edit:
        """Leave variables out, slots and moving averages with them.

        Raises:
            VariableNotFoundError: A pattern means nothing.
            UsageError: It cannot be read.
        """
        return self._after(lambda draft: operations.drop(draft, patterns))

    def keep(self, *patterns: str) -> Edit:
        """Leave out all that no pattern means: of a scope its slots, too.

        Raises:
            VariableNotFoundError: A pattern means nothing.
            UsageError: It cannot be read.
        """
        return self._after(lambda draft: operations.keep(draft, patterns))

    def strip_optimizer(self) -> Edit:
        """Leave out what only training needs: slots, powers of betas, counters of optimizers, metrics.

        Moving averages stay.

        Raises:
            UsageError: There is nothing of the kind.
        """
        return self._after(operations.strip_optimizer)

    @checked
    def cast(
        self, pattern: str | DTypeLike | None, dtype: DTypeLike | None = None, *, clip: bool = False
    ) -> Edit:
        """Let variables be of another dtype.

        `cast("bfloat16")` means all floating-point weights and moving averages, but not slots, counters and
        metrics. `cast("net/**", "bfloat16")` means what a pattern matches: by a scope, glob or `re:…` what is
        of the dtype's kind, floats or integers; by a name any variable.

        Args:
            pattern: Which variables; or the dtype alone.
            dtype: What they become: a name (`bfloat16`, `fp16`), or NumPy's or TensorFlow's dtype.
            clip: Let values beyond what it can say become the nearest that it can. Otherwise `write`
                raises MismatchError, which says how many there are.

        Raises:
            VariableNotFoundError: The pattern means nothing.
            UsageError: `dtype` is none, or nothing can be cast to it.
        """
        meant, target = (pattern, as_dtype(dtype)) if dtype is not None else read_cast(pattern)
        return self._after(lambda draft: operations.cast(draft, meant, target, clip=clip))

    def set(self, name: str, value: object) -> Edit:
        """Give a variable a value.

        Args:
            name: Which. An array, or a file of one, may also add a variable.
            value: A number, for all of it; an array or nested list of its shape; the path of a `.npy` file.

        Raises:
            VariableNotFoundError: There is none of this name.
            MismatchError: The value does not fit its dtype or shape.
            UsageError, ReadError: The value cannot be read.
        """
        return self._after(lambda draft: operations.put_value(draft, name, value))

    def copy(self, new: str, old: str) -> Edit:
        r"""Add a copy of a variable, or of those of a scope or `re:…`, under other names.

        Args:
            new: A name, a scope, or what a regular expression's match becomes, with `\1`. A variable that
                exists takes the value.
            old: What is copied; of a scope not its slots.

        Raises:
            VariableNotFoundError: `old` means nothing.
            MismatchError: A variable that exists differs in dtype or shape.
            UsageError: A name cannot be one.
        """
        new, old = text_of("new", new), text_of("old", old)
        return self._after(lambda draft: operations.copy(draft, new, old))

    @checked
    def reinit(
        self,
        patterns: str | Iterable[str],
        init: str | None = None,
        *,
        seed: int | None = None,
        exclude: str | Iterable[str] = (),
        keep_slots: bool = False,
    ) -> Edit:
        """Give variables fresh values, and with them their slots and moving averages: see `plan_reinit`.

        Raises:
            CheckpointError: As it does.
        """
        return self._after(
            lambda draft: reinitialize(
                draft, patterns, init=init, seed=seed, exclude=exclude, keep_slots=keep_slots
            )
        )

    @checked
    def plan(self, *, data: DataMode = "auto") -> FilePlan:
        """Return the plan, to be looked at, and then carried out with its `write`.

        Args:
            data: `auto` shares the data files of which at least 90% of the bytes are still used with the
                checkpoint, by hard link, and copies what is used of others; `link` shares any; `copy`
                none: what nothing uses any more is left behind.

        Raises:
            UsageError: No variables are left.
        """
        return self._draft.plan(data=data)

    @checked
    def write(
        self,
        prefix: str | os.PathLike[str],
        *,
        data: DataMode = "auto",
        keep_meta: bool = False,
        check: bool = False,
        force: bool = False,
        sync: bool = True,
        progress: Progress | None = None,
    ) -> FilePlan:
        """Write the checkpoint that this makes, and return the plan that was carried out.

        Args:
            prefix: The path without `.index`; it must not be one of the sources.
            data: As in `plan`.
            keep_meta: Copy the `.meta` file (a Saver's graph) as it is, old names and all.
            check: Also read the values in files that are shared by hard link, and compare their checksums.
            force: Replace the checkpoint there.
            sync: Make it survive a power loss.
            progress: Is told the size of each chunk that was moved, or checked.

        Raises:
            CheckpointError: As `FilePlan.write`.
        """
        refuse_ending(os.fspath(prefix))
        plan = self.plan(data=data)
        plan.write(prefix, keep_meta=keep_meta, check=check, force=force, sync=sync, progress=progress)
        return plan

    def _after(self, *steps: Callable[[Draft], None]) -> Edit:
        """Return what this is after further steps."""
        draft = self._draft.copy()
        for step in steps:
            step(draft)
        return Edit(draft)


@checked
def edit(checkpoint: Checkpoint | str | os.PathLike[str]) -> Edit:
    """Begin to change a checkpoint, which itself stays as it is.

    Args:
        checkpoint: Open, or its path; of any format. What is written is TensorFlow's.

    Raises:
        FormatError, ReadError: It cannot be read.
    """
    return Edit(Draft(as_checkpoint(checkpoint)))
