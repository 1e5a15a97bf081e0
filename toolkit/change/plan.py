"""A plan over files: verdicts, each with the variable that comes of it, to be poured into a sink."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.change.results import Progress, watched
from toolkit.change.sizes import parse_size
from toolkit.change.unchanged import refuse_changed, states_of
from toolkit.checkpoint import NOWHERE, Checkpoint, Variable
from toolkit.errors import PublishError
from toolkit.formats.bundle import naming, sharding
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.read_back import check_written
from toolkit.names import encode_name
from toolkit.plan import Bytes, Plan, Verdict


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
        files = dict.fromkeys(state for source in sources for state in states_of(source))
        super().__init__(verdicts, origin=sources[0].path, unused=unused, seed=seed, files=files)
        self.results = dict(results)
        self.sources = tuple(sources)

    @property
    def bytes(self) -> Bytes:
        """What carrying it out moves."""
        copied = written = 0
        for verdict in self.verdicts:
            if verdict.name in self.results:
                result = self.results[verdict.name]
                if result.place == NOWHERE:
                    written += result.nbytes
                else:
                    copied += result.nbytes
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
        max_shard_size: str | int | None = None,
        force: bool = False,
        sync: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Write the results as a checkpoint in TensorFlow's format, in the order of their names.

        Args:
            prefix: The path without `.index`; it must not be one of the sources.
            max_shard_size: `500MB`, or bytes: no data file is larger; a tensor that is goes to several, in
                slices, as a partitioned variable does.
            force: Replace the checkpoint there.
            sync: Make it survive a power loss.
            progress: Is told the size of each chunk that was written.

        Raises:
            PlanError: It cannot be carried out; nothing was done.
            MismatchError: A source has changed since the plan was made.
            PublishError: It exists, or the system refuses something.
            UsageError: `prefix` cannot be one.
            FormatError, ReadError: A source is damaged, or changed meanwhile.
        """
        self.check()
        refuse_changed(self.files)
        prefix = os.fspath(prefix)
        refuse_source(prefix, self.sources)
        variables = self.watched(progress)
        limit = sys.maxsize if max_shard_size is None else parse_size(max_shard_size)
        ordered = [variables[name] for name in sorted(variables, key=encode_name)]
        placed = sharding.distribute(ordered, limit)

        def write(staged: str, num_shards: int) -> None:
            sharding.write(staged, placed, num_shards)

        def check(staged: str) -> None:
            with BundleCheckpoint(staged) as written:
                check_written(written, {n: (v.dtype, v.shape, v.crc32c) for n, v in self.results.items()})

        num_files = sharding.num_files(placed)
        publish_bundle(prefix, write, check=check, num_files=num_files, force=force, sync=sync)


def refuse_source(out: str, sources: Iterable[Checkpoint]) -> None:
    """Raise if writing to `out` would touch one of `sources`.

    Raises:
        PublishError: It would.
    """
    data_files = naming.existing_data_files(out).values()
    touched = [
        out,
        naming.index_file(out),
        out + naming.META,
        *(path for paths in data_files for path in paths),
    ]
    ours = set(map(os.path.realpath, touched))
    for source in sources:
        if not ours.isdisjoint(map(os.path.realpath, [source.path, *source.files()])):
            raise PublishError(
                f"{out}: is the checkpoint that is read, which is never changed",
                path=out,
                hint="choose another output",
            )
