"""A directory of saves: what is remembered of them, which are there, and how old ones go.

`checkpoint.keeper.json` lists what was saved, oldest first, and what is being removed: whoever is killed
meanwhile, the next one finishes. TensorFlow's state file `checkpoint` is written beside it, with relative
paths, so that TensorFlow finds the newest too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator

from toolkit.change.retention import Retention, Saved
from toolkit.errors import CheckpointError, FormatError, PublishError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import FILE_NAME, read_state, state_text
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.read_back import checksum_of
from toolkit.publish import Publication

RECORD = "checkpoint.keeper.json"
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
        self.saves, removing = self._read()
        self._remove(removing)
        self._adopt()

    def path(self, name: str) -> str:
        """Return the path of a save."""
        return os.path.join(self.directory, name)

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
        times = {name: time for name, (_, time) in self._there().items()}
        times |= {save.name: save.time for save in self.saves}
        return iter(sorted(times, key=lambda name: (times[name], name), reverse=True))

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
                        checksum_of(variable)
                return name, problems
            except CheckpointError as error:
                problems.append(error)
        return None, problems

    def _there(self) -> dict[str, tuple[int, float]]:
        """Return step and time of all complete saves of this training in the directory."""
        pattern = re.compile(re.escape(self._name) + r"-(\d+)(\.index|\.weights\.h5)")
        found = {}
        for entry in os.listdir(self.directory):
            if match := pattern.fullmatch(entry):
                with contextlib.suppress(FileNotFoundError):
                    time = os.stat(self.path(entry)).st_mtime
                    found[entry.removesuffix(naming.INDEX)] = int(match[1]), time
        return found

    def _adopt(self) -> None:
        """Remember the save that was complete when its process was killed: the newest, and after the rest."""
        if not self.saves:
            return
        known = {save.name for save in self.saves}
        last = self.saves[-1].time
        for name, (step, time) in self._there().items():
            if name not in known and time > last:
                self.saves.append(Saved(name, step, time))
        self.saves.sort(key=lambda save: save.time)

    def _read(self) -> tuple[list[Saved], list[str]]:
        path = self.path(RECORD)
        if not os.path.lexists(path):
            return [], []
        try:
            with open(path, encoding="utf-8") as file:
                document = json.loads(file.read(_MAX_BYTES))
            saves = [Saved(**save) for save in document["saves"]]
            if not all(self._is_ours(name) for name in [*(s.name for s in saves), *document["removing"]]):
                raise ValueError("a name that is none of its saves")
            return saves, list(document["removing"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FormatError(
                f"not the record of a keeper: {error}",
                path=path,
                hint="move it away: all checkpoints stay, and none is removed any more",
            ) from error

    def _is_ours(self, name: object) -> bool:
        pattern = re.escape(self._name) + r"-\d+(\.weights\.h5)?"
        return isinstance(name, str) and re.fullmatch(pattern, name) is not None

    def _write(self, removing: Iterable[str]) -> None:
        document = {"saves": [save._asdict() for save in self.saves], "removing": list(removing)}
        self._publish(RECORD, json.dumps(document, indent=1))

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
