"""A plan over files: verdicts, each with the variable that comes of it, to be poured into a sink."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from toolkit.change.results import Progress, watched
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import PublishError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.verify import check_bundle
from toolkit.formats.bundle.writer import BundleWriter
from toolkit.names import encode_name
from toolkit.plan import Plan, Verdict


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


class FilePlan(Plan):
    """A plan over checkpoints that are read as files.

    Attributes:
        results: The variable that each verdict makes, by name: what a sink is given.
        sources: The checkpoints that it reads, the one that it is about first.
    """

    def __init__(
        self,
        verdicts: Iterable[Verdict],
        results: Mapping[str, Variable],
        sources: Sequence[Checkpoint],
        *,
        unused: Sequence[str] = (),
        seed: int | None = None,
    ) -> None:
        super().__init__(verdicts, origin=sources[0].path, unused=unused, seed=seed)
        self.results = dict(results)
        self.sources = tuple(sources)

    @property
    def bytes(self) -> Bytes:
        """What carrying it out moves."""
        copied = written = 0
        for verdict in self.verdicts:
            if verdict.name in self.results:
                nbytes = self.results[verdict.name].nbytes
                if verdict.action in ("keep", "copy", "restore"):
                    copied += nbytes
                else:
                    written += nbytes
        return Bytes(0, copied, written)

    @property
    def num_bytes(self) -> int:
        """The bytes of all results: what `progress` is told in all."""
        return sum(variable.nbytes for variable in self.results.values())

    def watched(self, progress: Progress | None) -> dict[str, Variable]:
        """Return the results, of which `progress` is told each chunk that a sink takes."""
        if progress is None:
            return self.results
        return {name: watched(variable, progress) for name, variable in self.results.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as the commands' JSON has it, with `bytes`."""
        return {**super().to_dict(), "bytes": self.bytes._asdict()}

    def write(
        self,
        prefix: str | os.PathLike[str],
        *,
        force: bool = False,
        sync: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Write the results as a checkpoint in TensorFlow's format, in the order of their names.

        Args:
            prefix: The path without `.index`; it must not be one of the sources.
            force: Replace the checkpoint there.
            sync: Make it survive a power loss.
            progress: Is told the size of each chunk that was written.

        Raises:
            PublishError: It exists, or the system refuses something.
            UsageError: `prefix` cannot be one.
            FormatError, ReadError: A source is damaged, or changed meanwhile.
        """
        prefix = os.fspath(prefix)
        refuse_source(prefix, self.sources)
        variables = self.watched(progress)

        def write(staged: str, num_shards: int) -> None:
            with BundleWriter(staged, num_shards=num_shards) as writer:
                for name in sorted(variables, key=encode_name):
                    writer.copy(name, variables[name])
                writer.finish()

        def check(staged: str) -> None:
            check_bundle(staged, {n: (v.dtype, v.shape, v.crc32c) for n, v in self.results.items()})

        publish_bundle(prefix, write, check=check, force=force, sync=sync)


def refuse_source(out: str, sources: Iterable[Checkpoint]) -> None:
    """Raise if writing to `out` would touch one of `sources`.

    Raises:
        PublishError: It would.
    """
    for source in sources:
        for theirs, ours in ((source.path, out), (naming.index_file(source.path), out)):
            if os.path.realpath(theirs) == os.path.realpath(ours):
                raise PublishError(
                    f"{out}: is the checkpoint that is read, which is never changed",
                    path=out,
                    hint="choose another output",
                )
