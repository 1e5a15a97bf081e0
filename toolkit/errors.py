"""Every error the toolkit raises.

    CheckpointError(Exception)            .message .hint
    ├─ FormatError(ValueError)            .path .offset      a file is not what its format says
    │  ├─ TruncatedError                                     it ends too early
    │  ├─ ChecksumError                   .stored .computed
    │  └─ UnsupportedError                                   sound, but of a kind that is not read
    ├─ ReadError(OSError)                 .path              a file is absent, or the system refuses it
    ├─ PublishError(OSError)              .path              a result could not be written or placed
    ├─ VariableNotFoundError(KeyError)    .name .suggestions
    ├─ MismatchError(ValueError)          .name .expected .found
    ├─ UsageError(ValueError)                                what was asked for has no meaning
    ├─ ModelError(RuntimeError)                              a model function or its graph is at fault
    └─ PlanError(ValueError)              .verdicts          a plan cannot do what was asked

A message says where, what, what was expected and what was found; `hint` says what to do about it, in the
words of the command line (`--force replaces it`). `str(error)` is the message, and the hint on a line of its
own in Python's words (`force=True replaces it`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from toolkit.wording import in_python


class CheckpointError(Exception):
    """The base of all errors of the toolkit."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {in_python(self.hint)}"


class FormatError(CheckpointError, ValueError):
    """A file breaks a rule of its format.

    Args:
        what: The rule that is broken, lower case, without a full stop.
        path: The file.
        offset: Position in the file, in bytes, where one can be named.
        expected: What the format asks for there.
        found: What the file has there.
    """

    _default_hint = "the file is damaged: take it from a backup, or use an earlier checkpoint"

    def __init__(
        self,
        what: str,
        *,
        path: str,
        offset: int | None = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        place = "" if offset is None else f" at byte {offset}"
        sides = "" if expected is None else f": expected {expected}, got {found}"
        super().__init__(f"{path}: {what}{place}{sides}", hint=hint or self._default_hint)
        self.path = path
        self.offset = offset


class TruncatedError(FormatError):
    """A file ends before what it announces."""

    _default_hint = "the copy or the save of this file was cut off: fetch it again"


class ChecksumError(FormatError):
    """Bytes do not have the CRC-32C that is stored for them. The values are unmasked."""

    def __init__(self, what: str, *, path: str, offset: int, stored: int, computed: int) -> None:
        super().__init__(
            f"checksum of {what} is wrong",
            path=path,
            offset=offset,
            expected=f"{stored:#010x}",
            found=f"{computed:#010x}",
        )
        self.stored = stored
        self.computed = computed


class UnsupportedError(FormatError):
    """A file, or a part of it, is of a kind that the toolkit does not read."""

    _default_hint = "TensorFlow may read it: restore it there and save it again"


class ReadError(CheckpointError, OSError):
    """A file is absent, or the system refuses to open or read it."""

    def __init__(self, message: str, *, path: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class PublishError(CheckpointError, OSError):
    """A result could not be written, checked or placed.

    What was there before is untouched, unless the message says that the result was written.
    """

    def __init__(self, message: str, *, path: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class VariableNotFoundError(CheckpointError, KeyError):
    """No variable has this name, or matches this pattern.

    Args:
        name: The name or pattern that was asked for.
        where: What was searched, for the message.
        suggestions: The nearest names, best first.
        others: Other names or patterns that nothing has or matches.
    """

    def __init__(
        self,
        name: str,
        *,
        where: str,
        suggestions: Sequence[str] = (),
        hint: str | None = None,
        others: Collection[str] = (),
    ) -> None:
        if hint is None and suggestions:
            hint = f"the nearest: {', '.join(suggestions)}"
        wanted = ", ".join(map(repr, [name, *others]))
        super().__init__(
            f"{where}: no variable matches {wanted}", hint=hint or "`ckpt inspect` lists a checkpoint's names"
        )
        self.name = name
        self.suggestions = tuple(suggestions)


class MismatchError(CheckpointError, ValueError):
    """Two things that must agree do not: shapes, dtypes, numbers of values."""

    def __init__(
        self, message: str, *, name: str, expected: Any, found: Any, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.expected = expected
        self.found = found


class UsageError(CheckpointError, ValueError):
    """What was asked for has no meaning: a bad pattern, initializer, rename or dtype."""

    def __str__(self) -> str:
        text = in_python(self.message)  # which may be about an option
        return text if self.hint is None else f"{text}\nhint: {in_python(self.hint)}"


class ModelError(CheckpointError, RuntimeError):
    """A model function cannot be found or run, or the graph it builds cannot be used."""


class PlanError(CheckpointError, ValueError):
    """A plan cannot do what was asked. `verdicts` are the ones at fault, `plan` is all of it."""

    def __init__(self, message: str, *, plan: Any, verdicts: Sequence[Any], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.plan = plan
        self.verdicts = tuple(verdicts)
