"""A plan over files: verdicts, each with the variable that comes of it, to be poured into a sink."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.arguments import checked
from toolkit.change.results import Progress, watched
from toolkit.change.unchanged import refuse_changed, states_of
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import PublishError, UsageError
from toolkit.formats.bundle import naming, sharding
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.sharing import DataMode, Layout, SharedFile
from toolkit.formats.endings import refuse_ending
from toolkit.formats.read_back import check_written
from toolkit.made_directories import existing_directory
from toolkit.names import encode_name
from toolkit.places import NOWHERE
from toolkit.plan import Advice, Bytes, Plan, Verdict
from toolkit.units import count, parse_size, size


class FilePlan(Plan):
    """A plan over checkpoints that are read as files.

    Attributes:
        results: The variable that each verdict makes, by name: what a sink is given.
        sources: The checkpoints that it reads, the one that it is about first.
        bytes: What carrying it out moves; once it is carried out, what that has moved.
        linked_checked: Whether the values in files that are shared by hard link were read, and their
            checksums compared; `None` where no file is shared.
    """

    def __init__(
        self,
        verdicts: Iterable[Verdict],
        results: Mapping[str, Variable],
        sources: Sequence[Checkpoint],
        *,
        unused: Sequence[str] = (),
        seed: int | None = None,
        data: DataMode | None = None,
        notes: Iterable[str] = (),
        advice: Advice | None = None,
    ) -> None:
        """Make a plan.

        Args:
            verdicts: As `Plan`.
            results: The variable that each verdict makes, by name.
            sources: The checkpoints that it reads, the one that it is about first.
            unused: As `Plan`.
            seed: As `Plan`.
            data: Which data files the result shares with its sources; `None` for none, partitioned
                variables being put together. As `Layout` says.
            notes: As `Plan`.
            advice: As `Plan`.

        Raises:
            FormatError, TruncatedError: An index points at what is not there.
        """
        files = dict.fromkeys(state for source in sources for state in states_of(source))
        self.results = dict(results)
        self.sources = tuple(sources)
        self._mode = data
        self._is_checked = False
        layout = None
        if data is None:
            self.bytes = _moved(self.results.values())
        else:
            layout = self._layout(self.results)
            self.bytes = Bytes(layout.num_linked, layout.num_copied, layout.num_written)
        super().__init__(
            verdicts,
            origin=sources[0].path,
            unused=unused,
            seed=seed,
            files=files,
            notes=notes,
            advice=advice,
            checkpoint=sources[0],
        )
        self._other_notes = self.notes
        if layout is not None:
            self.notes += tuple(_notes(layout, self.bytes, is_checked=False))

    @property
    def linked_checked(self) -> bool | None:
        """Whether the values in files that are shared by hard link were read and compared."""
        return self._is_checked if self.bytes.linked else None

    @checked
    def aim(self, prefix: str | os.PathLike[str]) -> None:
        """Let `bytes` and `notes` say what writing to `prefix` would move: no link leaves its file system."""
        if self._mode is None:
            return
        device = os.stat(existing_directory(os.path.dirname(os.fspath(prefix)))).st_dev
        layout = self._layout(self.results)
        away = sum(file.nbytes for file in layout.files if file.extent.identity[0] != device)
        self._set_moved(layout, away)

    def _set_moved(self, layout: Layout, not_linked: int) -> None:
        """Note what is moved, if so many bytes of data files are not linked but copied."""
        linked = layout.num_linked - not_linked
        self.bytes = Bytes(linked, layout.num_copied + not_linked, layout.num_written)
        self.notes = (*self._other_notes, *_notes(layout, self.bytes, is_checked=self._is_checked))

    @property
    def num_bytes(self) -> int:
        """The bytes that are moved: what `progress` is told in all, but for what `check` reads."""
        return self.bytes.copied + self.bytes.written

    @property
    def num_checked(self) -> int:
        """The bytes that `check` reads, which `progress` is told too."""
        return 0 if self._mode is None else self._layout(self.results).num_checked

    def watched(self, progress: Progress | None) -> dict[str, Variable]:
        """Return the results, of which `progress` is told each chunk that a sink takes."""
        if progress is None:
            return self.results
        return {name: watched(variable, progress) for name, variable in self.results.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as the commands' JSON has it, with `bytes` and `linked_checked`."""
        moved = {"bytes": self.bytes._asdict(), "linked_checked": self.linked_checked}
        return {**super().to_dict(), **moved}

    @checked
    def write(
        self,
        prefix: str | os.PathLike[str],
        *,
        max_shard_size: str | int | None = None,
        keep_meta: bool = False,
        check: bool = False,
        force: bool = False,
        sync: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Write the results as a checkpoint in TensorFlow's format, in the order of their names.

        What is copied or made is read back and compared. What is shared by hard link is not read, unless
        `check` is given: damage in it would be shared, too.

        Args:
            prefix: The path without `.index`; it must not be one of the sources.
            max_shard_size: `500MB`, or bytes: no data file is larger; a tensor that is goes to several, in
                slices, as a partitioned variable does. Then none is shared.
            keep_meta: Copy the `.meta` file, a Saver's graph, of the checkpoint that it is about, as it is.
            check: First read the values in files that are shared by hard link, and compare their checksums.
            force: Replace the checkpoint there.
            sync: Make it survive a power loss.
            progress: Is told the size of each chunk that was written, or checked.

        Raises:
            PlanError: It cannot be carried out; nothing was done.
            ChecksumError: A value that is read is damaged; nothing was written.
            MismatchError: A source has changed since the plan was made.
            PublishError: It exists, or the system refuses something.
            UsageError: `prefix` cannot be one, or its ending says another format (`mean.h5`).
            FormatError, ReadError: A source is damaged, or changed meanwhile.
        """
        prefix = os.fspath(prefix)
        refuse_ending(prefix)
        self.check()
        refuse_changed(self.files)
        refuse_source(prefix, self.sources)
        meta = self.meta if keep_meta else None
        if keep_meta and meta is None:
            raise UsageError(f"{self.origin}: has no .meta file", hint="leave --keep-meta out")
        variables = self.watched(progress)
        if self._mode is None or max_shard_size is not None:
            self._write_anew(prefix, variables, max_shard_size, meta, force, sync)
        else:
            self._is_checked = False
            if check:
                self._check_linked(progress)
            self._write_shared(prefix, self._layout(variables), progress, meta, force, sync)

    @property
    def meta(self) -> str | None:
        """The path of the graph that a Saver wrote beside the checkpoint that it is about, if it did."""
        path = self.sources[0].path + naming.META
        return path if os.path.isfile(path) else None

    @checked
    def rehearse(self, *, check: bool = False, progress: Progress | None = None) -> None:
        """Make what is cast, and throw it away: to know beforehand that all values fit.

        Args:
            check: Also read the values in files that would be shared by hard link, as `write` does.
            progress: Is told the size of each chunk that was checked.

        Raises:
            ChecksumError: A value is damaged.
            MismatchError: Some do not.
            FormatError, ReadError: A source is damaged.
        """
        for verdict in self.verdicts:
            result = self.results.get(verdict.name)
            if (
                result is not None
                and result.place == NOWHERE
                and not result.slices
                and verdict.action == "cast"
            ):
                for _ in result.chunks():
                    pass
        if check:
            self._check_linked(progress)

    def _check_linked(self, progress: Progress | None) -> None:
        """Read what is shared by hard link, and note that it is sound."""
        if self._mode is None:
            return
        layout = self._layout(self.results)
        layout.check_linked(progress or (lambda nbytes: None))
        self._is_checked = True
        self._set_moved(layout, layout.num_linked - self.bytes.linked)

    def _layout(self, variables: Mapping[str, Variable]) -> Layout:
        """Return where the values of `variables` will lie."""
        assert self._mode is not None
        ordered = [variables[name] for name in sorted(variables, key=encode_name)]
        num_files = sum(source.num_shards for source in self.sources if isinstance(source, BundleCheckpoint))
        return Layout(ordered, self._mode, num_files)

    def _write_shared(
        self,
        prefix: str,
        layout: Layout,
        progress: Progress | None,
        meta: str | None,
        force: bool,
        sync: bool,
    ) -> None:
        """Write what has changed, and link the data files of the rest."""
        copied: list[SharedFile] = []

        def write(staged: str, num_shards: int) -> list[str]:
            linked, not_linked = layout.write(staged, num_shards, progress or (lambda nbytes: None))
            copied.extend(not_linked)
            _copy_meta(meta, staged)
            return linked

        def check(staged: str) -> None:
            layout.check(staged, copied)
            refuse_changed(self.files)

        publish_bundle(prefix, write, check=check, num_files=layout.num_files, force=force, sync=sync)
        self._set_moved(layout, sum(file.nbytes for file in copied))

    def _write_anew(
        self,
        prefix: str,
        variables: Mapping[str, Variable],
        max_shard_size: str | int | None,
        meta: str | None,
        force: bool,
        sync: bool,
    ) -> None:
        """Write all values to data files of limited sizes."""
        limit = sys.maxsize if max_shard_size is None else parse_size(max_shard_size)
        ordered = [variables[name] for name in sorted(variables, key=encode_name)]
        placed = sharding.distribute(ordered, limit)

        def write(staged: str, num_shards: int) -> None:
            sharding.write(staged, placed, num_shards)
            _copy_meta(meta, staged)

        def check(staged: str) -> None:
            with BundleCheckpoint(staged) as written:
                check_written(written, {n: (v.dtype, v.shape, v.crc32c) for n, v in self.results.items()})

        num_files = sharding.num_files(placed)
        publish_bundle(prefix, write, check=check, num_files=num_files, force=force, sync=sync)


def _moved(results: Iterable[Variable]) -> Bytes:
    """Return what is moved where nothing is shared."""
    copied = written = 0
    for result in results:
        if result.place == NOWHERE:
            written += result.nbytes
        else:
            copied += result.nbytes
    return Bytes(0, copied, written)


def _notes(layout: Layout, moved: Bytes, *, is_checked: bool) -> list[str]:
    """Return what is good to know of how data files are shared."""
    notes = []
    if layout.files:
        whole = "shared by hard link" if moved.linked == layout.num_linked else "taken over whole"
        read = "read, checksums equal" if is_checked else "not read (--check compares its checksums)"
        notes.append(
            f"{count(len(layout.files), 'data file')} {whole}, {size(moved.linked)} linked"
            f"{', ' + read if moved.linked else ''}; "
            f"{size(moved.copied)} copied, {size(moved.written)} written"
        )
    if layout.num_unused and moved.linked:
        notes.append(
            f"{size(layout.num_unused)} of what is shared is used by no variable any more: "
            "--data copy leaves it out"
        )
    if layout.num_merged:
        notes.append(
            f"{count(layout.num_merged, 'data file')} copied into the new one, so that there are "
            f"no more than {layout.num_files}"
        )
    return notes


def _copy_meta(meta: str | None, prefix: str) -> None:
    if meta is not None:
        shutil.copyfile(meta, prefix + naming.META)


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
