"""A directory of saves: what is remembered of them, which are there, and how old ones go.

`NAME.keeper.json` lists what was saved, oldest first, what is being saved, and what is being removed:
whoever is killed meanwhile, the next one finishes. TensorFlow's state file `checkpoint` is written beside
it, with relative paths, so that TensorFlow finds the newest too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from toolkit.change.retention import Retention, Saved
from toolkit.errors import CheckpointError, FormatError, PublishError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import FILE_NAME, read_state, state_text
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.read_back import checksum_of
from toolkit.publish import Publication

RECORD = ".keeper.json"
WEIGHTS = ".weights.h5"
_MAX_BYTES = 64 << 20


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
        self.saves, removing, saving = self._read()
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
        """Yield the names of all complete saves of this training, newest first, remembered or not.

        One that was complete when its process was killed is not remembered yet.
        """
        self._forget_missing()
        ours = [save.name for save in reversed(self.saves)]
        times = self._others()
        return iter([*ours, *sorted(times, key=lambda name: (times[name], name), reverse=True)])

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

    def _others(self) -> dict[str, float]:
        """Return the times of complete saves of this name in the directory that are not remembered."""
        known = {save.name for save in self.saves}
        found = {}
        for entry in os.listdir(self.directory):
            name = entry.removesuffix(naming.INDEX)
            if (entry != name or name.endswith(WEIGHTS)) and self._is_ours(name) and name not in known:
                with contextlib.suppress(FileNotFoundError):
                    found[name] = os.stat(self.path(entry)).st_mtime
        return found

    def _is_there(self, name: str) -> bool:
        path = self.path(name)
        return os.path.lexists(path if name.endswith(WEIGHTS) else naming.index_file(path))

    def _forget_missing(self) -> None:
        """Forget saves that somebody removed."""
        self.saves = [save for save in self.saves if self._is_there(save.name)]

    def _read(self) -> tuple[list[Saved], list[str], Saved | None]:
        path = self.path(self._record)
        if not os.path.lexists(path):
            return [], [], None
        try:
            with open(path, encoding="utf-8") as file:
                document = json.loads(file.read(_MAX_BYTES))
            saves, saving = list(map(self._saved, document["saves"])), document.get("saving")
            removing = list(document["removing"])
            if not all(map(self._is_ours, removing)):
                raise ValueError("a name that is none of its saves")
            return saves, removing, None if saving is None else self._saved(saving)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"not the record of a keeper: {error}",
                path=path,
                hint="move it away: all checkpoints stay, and none is removed any more",
            ) from error

    def _saved(self, document: dict[str, Any]) -> Saved:
        """Return a save as the record has it.

        Raises:
            ValueError, TypeError, KeyError: It is none.
        """
        metric = document.get("metric")
        name, step = document["name"], document["step"]
        if not self._is_ours(name) or type(step) is not int:
            raise ValueError("a name that is none of its saves")
        return Saved(name, step, float(document["time"]), None if metric is None else float(metric))

    def _is_ours(self, name: object) -> bool:
        pattern = re.escape(self._name) + r"-\d+(\.weights\.h5)?"
        return isinstance(name, str) and re.fullmatch(pattern, name) is not None

    def _write(self, removing: Iterable[str], saving: Saved | None = None) -> None:
        document: dict[str, Any] = {
            "saves": [save._asdict() for save in self.saves],
            "removing": list(removing),
        }
        if saving is not None:
            document["saving"] = saving._asdict()
        self._publish(self._record, json.dumps(document, indent=1))

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
        self._publish(FILE_NAME, state_text(prefixes[-1], listed, [times.get(p, 0.0) for p in listed]))

    def _publish(self, name: str, text: str) -> None:
        with Publication(self.path(name), force=True, sync=self._sync) as publication:
            with open(publication.staged(name), "x", encoding="utf-8") as file:
                file.write(text)
            publication.publish()

    def _remove(self, names: Iterable[str]) -> None:
        """Remove the files of saves, the index first: without it nothing points at the rest."""
        for name in names:
            prefix = self.path(name)
            files = [prefix] if name.endswith(WEIGHTS) else [naming.index_file(prefix), prefix + naming.META]
            data = naming.existing_data_files(prefix).values()
            for path in [*files, *(path for paths in data for path in paths)]:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise PublishError(
                        f"{path}: cannot be removed: {(error.strerror or str(error)).lower()}",
                        path=path,
                        hint="the new save is complete; see who may write here",
                    ) from error
