"""The plan: for every variable what will be done, from what, and why. Pure data.

Whoever makes a plan (a restore, a reinitialization, an export) fills in verdicts; whoever carries it
out does what they say. Nothing here reads a file or knows TensorFlow.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn, get_args

from toolkit import names
from toolkit.checkpoint import Checkpoint
from toolkit.dtypes import as_dtype
from toolkit.errors import PlanError, UsageError, VariableNotFoundError
from toolkit.names import printable
from toolkit.renaming import as_options
from toolkit.roles import Kind
from toolkit.text import aligned
from toolkit.wording import in_python

_MAX_HINTS = 3
_AFRESH = "--on-missing init starts it afresh"
_WORDS = re.compile(r"[^\s;,:()]+")
"""The words of a reason, names among them."""

Action = Literal[
    "restore", "initialize", "copy", "overlap", "keep", "cast", "constant", "mean", "drop", "defer"
]


class Bytes(NamedTuple):
    """How many bytes of values a result takes, by where they come from.

    Attributes:
        linked: Shared with a file that exists.
        copied: Copied from one.
        written: New.
    """

    linked: int
    copied: int
    written: int


class FileState(NamedTuple):
    """A file that a plan was made from, as it was then.

    Attributes:
        path: Its path.
        nbytes: Its size.
        mtime_ns: When it was last changed, in nanoseconds since 1970.
    """

    path: str
    nbytes: int
    mtime_ns: int


class Advice(NamedTuple):
    """What matching a model with a checkpoint has shown.

    Attributes:
        renames: `OLD=NEW` rules that find what is missing, in the order in which they are typed together.
        finds: What they find, in words: `83 of 85 missing variables`.
        remark: What the last line of the plan says besides, if anything.
    """

    renames: tuple[str, ...] = ()
    finds: str = ""
    remark: str = ""

    @property
    def hint(self) -> str | None:
        """What to type, for a person; `None` if no rename helps."""
        if not self.renames:
            return None
        return f"{as_options(self.renames)} {'finds' if len(self.renames) == 1 else 'find'} {self.finds}"


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """What will be done with one variable.

    Attributes:
        name: The variable, as it will be called.
        action: What happens: `restore` its value from a checkpoint, `initialize` it, `copy` another's
            value, restore the `overlap` of two shapes, `keep` it, `cast` it, `defer` restoring it to the
            time when it is made, and so on.
        source: Where the value comes from: a variable's name, `PATH::NAME`, or `None`.
        reason: Why, in a few words.
        dtype: TensorFlow's name of its dtype.
        shape: Its shape; `None` where a graph leaves it open.
        initializer: The SPEC that fills it, where one does that is known by name.
        problem: Why this cannot be done, or `None`.
        hint: What to type to solve the problem, in the words of the command line.
        path: Its readable name, where it is called by the key of an object.
    """

    name: str
    action: Action
    source: str | None
    reason: str
    dtype: str
    shape: tuple[int, ...] | None
    initializer: str | None = None
    problem: str | None = None
    hint: str | None = None
    path: str | None = None

    def __repr__(self) -> str:
        source = f" from {self.source}" if self.source else ""
        what = f"{self.action} {self.name}{source}"
        if self.problem is not None:
            return printable(f"<Verdict: cannot {what}: {self.problem}>")
        return printable(f"<Verdict: {what}: {self.reason}>")

    @property
    def nbytes(self) -> int:
        """Bytes of its values; 0 where dtype or shape do not tell."""
        itemsize = as_dtype(self.dtype).itemsize
        return 0 if self.shape is None or itemsize is None else math.prod(self.shape) * itemsize

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON has it; `initializer`, `problem`, `hint`, `path` where there are any."""
        document: dict[str, Any] = {
            "name": self.name,
            "action": self.action,
            "source": self.source,
            "reason": self.reason,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
        }
        for key in ("initializer", "problem", "hint", "path"):
            if (value := getattr(self, key)) is not None:
                document[key] = value
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` made `document` of.

        Raises:
            UsageError: The input is not what `to_dict` or `to_json` made.
        """
        try:
            shape = document["shape"]
            verdict = cls(**{**document, "shape": None if shape is None else tuple(map(int, shape))})
            as_dtype(verdict.dtype)
            if verdict.action not in get_args(Action) or not isinstance(verdict.name, str):
                raise ValueError(verdict.action)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"not a verdict of a plan: {document!r}", hint="give what to_json wrote"
            ) from error
        return verdict


class Plan:
    """Verdicts, in the order of the target's variables.

    `str(plan)` is a table in plain text, with options as Python has them; `len`, iteration and `plan[name]`
    give the verdicts.

    Attributes:
        verdicts: One for each variable of the target.
        origin: Path of the checkpoint that it is about, which tables need not repeat.
        unused: Names in the checkpoint that nothing takes.
        seed: What random values are drawn from, if any are.
        files: The files that it was made from, as they were. It is carried out with none but these.
        together: The copies that are initialized from one draw with what they copy; others take the
            value that it has by then.
        notes: What else is good to know of it, in sentences.
        advice: Renames that find what is missing, and what the summary says besides.
        roles: What the variables of the checkpoint that it is about are for, by name, if there is one.
        paths: Their readable names, by those that are not.
        is_named_by_role: Whether a variable's name tells what it is for, where the checkpoint does not.
    """

    is_named_by_role = True

    def __init__(
        self,
        verdicts: Iterable[Verdict],
        *,
        origin: str | None = None,
        unused: Sequence[str] = (),
        seed: int | None = None,
        files: Iterable[FileState] = (),
        together: Iterable[str] = (),
        notes: Iterable[str] = (),
        advice: Advice | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.roles = {} if checkpoint is None else checkpoint.roles()
        self.paths = {} if checkpoint is None else checkpoint.paths()
        self.verdicts = tuple(verdicts)
        self.origin = origin
        self.unused = tuple(unused)
        self.seed = seed
        self.files = tuple(files)
        self.together = frozenset(together)
        self.notes = tuple(notes)
        self.advice = advice or Advice()
        self._by_name = {verdict.name: verdict for verdict in self.verdicts}

    @property
    def problems(self) -> tuple[Verdict, ...]:
        """The verdicts that cannot be carried out."""
        return tuple(verdict for verdict in self.verdicts if verdict.problem is not None)

    @property
    def ok(self) -> bool:
        """Whether every verdict can be carried out."""
        return not self.problems

    def __len__(self) -> int:
        return len(self.verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __getitem__(self, name: str) -> Verdict:
        if not isinstance(name, str):
            raise UsageError(f"expected the name of a variable, got {name!r}", hint="a name is text")
        verdict = self._by_name.get(name) or next((v for v in self.verdicts if v.path == name), None)
        if verdict is None:
            suggestions = names.nearest(name, self._by_name)
            raise VariableNotFoundError(name, where="the plan", suggestions=suggestions)
        return verdict

    def explain(self, name: str) -> str:
        """Return in a sentence what happens to the variable `name`, and why.

        Raises:
            VariableNotFoundError: The plan has no such variable.
        """
        verdict = self[name]
        source = f" from {verdict.source}" if verdict.source else ""
        if verdict.problem is None:
            return f"{name}: {verdict.action}{source}: {in_python(verdict.reason)}"
        hint = f" (hint: {in_python(verdict.hint)})" if verdict.hint else ""
        return f"{name}: cannot {verdict.action}{source}: {verdict.problem}{hint}"

    def summary(self) -> str:
        """Return how many variables meet which fate: `4 restore, 2 initialize, 1 unused`."""
        counts = Counter(verdict.action for verdict in self.verdicts if verdict.problem is None)
        parts = [f"{count} {action}" for action, count in counts.items()]
        if self.problems:
            parts.append(f"{len(self.problems)} cannot be done")
        if left_over := self.left_over():
            parts.append(f"{len(left_over)} unused in the checkpoint")
        seed = "" if self.seed is None else f"; seed {self.seed}"
        remark = f"; {self.advice.remark}" if self.advice.remark else ""
        return (", ".join(parts) or "no variables") + seed + remark

    def rows(self) -> list[tuple[str, ...]]:
        """Return action, variable, dtype with shape, source and reason of each, safe to print."""
        return [self.row(verdict) for verdict in self.verdicts]

    def row(self, verdict: Verdict) -> tuple[str, ...]:
        """Return action, variable, dtype with shape, source and reason of a verdict, safe to print.

        The source is left out where it goes without saying, or the reason says it.
        """
        return (
            "cannot" if verdict.problem is not None else verdict.action,
            printable(verdict.path or verdict.name),
            f"{verdict.dtype} {'of any shape' if verdict.shape is None else verdict.shape}",
            printable(self._shown_source(verdict)),
            printable("; ".join(filter(None, [verdict.problem or verdict.reason, verdict.hint]))),
        )

    def left_over(self) -> list[tuple[str, Kind | None]]:
        """Map the variables of the checkpoint that nothing takes, by readable names, to their roles if known.

        What a verdict explains by itself is left out, and so is what is no value of the model.
        """
        roles = ((name, self.roles.get(name)) for name in self.unused if name not in self._by_name)
        return [
            (self.paths.get(name, name), None if role is None else role.kind)
            for name, role in roles
            if role is None or role.kind != "metadata"
        ]

    def called(self, verdict: Verdict) -> tuple[str, str]:
        """Return readable names for the source of a verdict, which may be empty, and for its variable."""
        source, name = (verdict.source or "").removeprefix(f"{self.origin}::"), verdict.path or verdict.name
        return self.paths.get(source, name if source == verdict.name else source), name

    def _shown_source(self, verdict: Verdict) -> str:
        """Return a verdict's source without what goes without saying: the path, and its own name."""
        source, name = self.called(verdict)
        is_said = source == name or source in _WORDS.findall(verdict.reason)
        return verdict.initializer or ("" if is_said else source)

    def __str__(self) -> str:
        rows = sorted(self.rows(), key=lambda row: row[0] == "cannot")
        unused = [f"unused in the checkpoint: {printable(name)}" for name, _ in self.left_over()]
        lines = [*unused, *map(printable, self.notes), self.summary()]
        return in_python("\n".join([*(aligned(rows) if rows else []), *lines]))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as the commands' JSON has it: `plan`, `unused`, `ok`, and what else there is."""
        document: dict[str, Any] = {
            "plan": [verdict.to_dict() for verdict in self.verdicts],
            "unused": list(self.unused),
            "ok": self.ok,
        }
        if self.seed is not None:
            document["seed"] = self.seed
        if self.origin is not None:
            document["origin"] = self.origin
        if self.files:
            document["files"] = [state._asdict() for state in self.files]
        if self.notes:
            document["notes"] = list(self.notes)
        if self.advice.renames:
            document["suggested_renames"] = list(self.advice.renames)
        if self.together:
            document["together"] = sorted(self.together)
        return document

    def to_json(self) -> str:
        """Return the plan as a JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    @staticmethod
    def from_json(text: str) -> Plan:
        """Return the plan that `to_json`, or a command with `--json`, wrote: to be looked at and compared.

        `toolkit.bind` gives it a model to be carried out on.

        Raises:
            UsageError: The input is not what `to_dict` or `to_json` made.
        """
        try:
            document = json.loads(text)
            return Plan(
                map(Verdict.from_dict, document["plan"]),
                origin=document.get("origin"),
                unused=document.get("unused", ()),
                seed=document.get("seed"),
                files=[FileState(**state) for state in document.get("files", ())],
                together=document.get("together", ()),
                notes=document.get("notes", ()),
                advice=Advice(tuple(document.get("suggested_renames", ()))),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"not a plan: {error}", hint="give what to_json wrote") from error

    def check(self) -> None:
        """Raise unless the plan can be carried out.

        Raises:
            PlanError: Some verdicts cannot; it names the first, and has all.
        """
        if self.problems:
            self._fail()

    def _fail(self) -> NoReturn:
        problems = self.problems
        named = "; ".join(f"{verdict.path or verdict.name}: {verdict.problem}" for verdict in problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        told = [verdict.hint for verdict in problems if verdict.hint]
        if together := self.advice.hint:  # renames are typed together, which says what each finds alone
            told = [together, *(hint for hint in told if not hint.startswith("--rename"))]
        hints = list(dict.fromkeys(told))
        if len(hints) > 1:
            # what each of many hints ends in is said once
            parts = [hint.removesuffix(_AFRESH).removesuffix(", ") for hint in hints]
            is_left_out = parts != hints
            hints = [part for part in parts if part][: _MAX_HINTS - is_left_out]
            hints += ["--on-missing init starts what is not found afresh"] * is_left_out
        raise PlanError(
            f"{len(problems)} of {len(self.verdicts)} variables cannot be given a value: {named}{more}",
            plan=self,
            verdicts=problems,
            hint="; ".join(hints[:_MAX_HINTS]) or None,
        )
