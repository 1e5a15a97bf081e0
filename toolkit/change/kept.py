"""A directory of saves: what is remembered of them, which are there, and how old ones go.

`NAME.keeper.json` lists what was saved, oldest first, what is being saved, and what is being removed:
whoever is killed meanwhile, the next one finishes. TensorFlow's state file `checkpoint` is written beside
it, with relative paths, so that TensorFlow finds the newest too.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from toolkit.change.removal import remove_files
from toolkit.change.retention import Retention
from toolkit.errors import CheckpointError, PublishError
from toolkit.formats import saves
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import State, read_state, write_state
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.read_back import checksum_of
from toolkit.formats.records import RECORD, WEIGHTS, Saved, is_save_of, read_record
from toolkit.formats.saves import files_of
from toolkit.publish import Publication


class KeptDirectory:
    """The saves of one training in a directory.

    Args:
        directory: It must exist.
        name: What all saves of this training are called before their steps: `NAME-STEP`.
        retention: Which are kept.
        sync: Make what is written survive a power loss.

    Raises:
        FormatError: The record is damaged.
        PublishError: The system refuses something.
    """

    def __init__(self, directory: str, name: str, retention: Retention, *, sync: bool = True) -> None:
        self.directory = directory
        self._name = name
        self._retention = retention
        self._sync = sync
        self._record = name + RECORD
        self.saves, removing, saving = read_record(directory, name)
        self._remove(removing)
        self._forget_missing()
        if saving is not None and self._is_there(saving.name):
            self.saves = [*(save for save in self.saves if save.name != saving.name), saving]

    def path(self, name: str) -> str:
        """Return the path of a save."""
        return os.path.join(self.directory, name)

    def begin(self, save: Saved) -> None:
        """Remember that a save is made: if it is complete when its process is killed, it counts.

        Raises:
            PublishError: Another program made one of this name, or the system refuses something.
        """
        self._forget_missing()
        if save.name not in {each.name for each in self.saves} and self._is_there(save.name):
            raise PublishError(
                f"{self.path(save.name)}: exists, and is none of this keeper's",
                path=self.path(save.name),
                hint="save another step, or move it away",
            )
        self._write([], saving=save)

    def give_up(self) -> None:
        """Remember that the save that was begun is none."""
        with contextlib.suppress(CheckpointError):
            self._write([])

    def add(self, save: Saved) -> list[str]:
        """Remember a save that is complete, and remove those that are not kept any more.

        Returns:
            The names of what was removed.

        Raises:
            PublishError: The system refuses something. The save itself is there.
        """
        saves = [*(s for s in self.saves if s.name != save.name), save]
        kept = self._retention.kept(saves)
        removing = [s.name for s in saves if s.name not in kept]
        self.saves = [s for s in saves if s.name in kept]
        self._write(removing)
        self._write_state()
        self._remove(removing)
        if removing:
            self._write([])
        return removing

    def newest_first(self) -> Iterator[str]:
        """Yield the names of all complete saves of this training, remembered or not, the latest first.

        The order is that of `formats.saves`, for which the first is the latest of the directory.
        """
        self._forget_missing()
        names = {save.name for save in self.saves} | self._others()
        ranked = saves.newest_first(self.directory, map(self.path, names))
        return iter([save.name for save in ranked if save.name in names])

    def newest_sound(self, *, weights: bool = False) -> tuple[str | None, list[CheckpointError]]:
        """Return the newest save that reads whole, every checksum of it, and why newer ones do not.

        Args:
            weights: Whether files of Keras's weights are meant, or checkpoints.
        """
        problems: list[CheckpointError] = []
        for name in self.newest_first():
            if name.endswith(WEIGHTS) != weights:
                continue
            try:
                with open_checkpoint(self.path(name)) as checkpoint:
                    for variable in checkpoint.variables().values():
                        if variable.dtype.kind != "handle":
                            checksum_of(variable)
                return name, problems
            except CheckpointError as error:
                problems.append(error)
        return None, problems

    def _others(self) -> set[str]:
        """Return the names of complete saves of this name in the directory that are not remembered."""
        found = set()
        for entry in os.listdir(self.directory):
            name = entry.removesuffix(naming.INDEX)
            if (entry != name or name.endswith(WEIGHTS)) and self._is_ours(name):
                found.add(name)
        return found

    def _is_there(self, name: str) -> bool:
        path = self.path(name)
        return os.path.lexists(path if name.endswith(WEIGHTS) else naming.index_file(path))

    def _forget_missing(self) -> None:
        """Forget saves that somebody removed."""
        self.saves = [save for save in self.saves if self._is_there(save.name)]

    def _is_ours(self, name: object) -> bool:
        return is_save_of(self._name, name)

    def _write(self, removing: Iterable[str], saving: Saved | None = None) -> None:
        document: dict[str, Any] = {
            "saves": [save._asdict() for save in self.saves],
            "removing": list(removing),
            "mode": self._retention.mode,
        }
        if saving is not None:
            document["saving"] = saving._asdict()
        with Publication(self.path(self._record), force=True, sync=self._sync) as publication:
            with open(publication.staged(self._record), "x", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=1))
            publication.publish()

    def _write_state(self) -> None:
        """Write TensorFlow's state file; what others saved here stays in it."""
        prefixes = [save.name for save in self.saves if not save.name.endswith(WEIGHTS)]
        if not prefixes:
            return
        others: list[str] = []
        with contextlib.suppress(CheckpointError):  # one that is damaged is written anew
            state = read_state(self.directory)
            paths = [] if state is None else [*state.all_paths, state.latest]
            others = [path for path in dict.fromkeys(paths) if not self._is_ours(os.path.basename(path))]
        times = {save.name: save.time for save in self.saves}
        listed = [*others, *prefixes]
        state = State(prefixes[-1], tuple(listed), tuple(times.get(path, 0.0) for path in listed))
        write_state(self.directory, state, sync=self._sync)

    def _remove(self, names: Iterable[str]) -> None:
        """Remove the files of saves, the index first: without it nothing points at the rest."""
        for name in names:
            prefix = self.path(name)
            remove_files([prefix] if name.endswith(WEIGHTS) else files_of(prefix))
