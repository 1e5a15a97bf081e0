"""Publishing a bundle: which of its files points at which, and under what names they are placed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from toolkit.errors import PublishError, UsageError
from toolkit.formats.bundle import naming
from toolkit.formats.endings import refuse_ending
from toolkit.publish import Publication, exists, refuse_destination


def publish_bundle(
    prefix: str,
    write: Callable[[str, int], Collection[str] | None],
    *,
    check: Callable[[str], None],
    num_files: int = 1,
    force: bool = False,
    sync: bool = True,
) -> None:
    """Write a bundle and give it the name `prefix`, all at once.

    Args:
        prefix: The path without `.index`.
        write: Called with a staged prefix and the number of data files that the bundle must have;
            writes the index, the data files and, if it likes, a meta file. Returns the names of those
            that are links to files of others.
        check: Called with the staged prefix when all is on disk; raises if it is not as it should be.
        num_files: Data files that it has values for; it may have to have more.
        force: Replace the bundle of this name. The new one gets another number of data files than
            any that is there, so that none of its files takes an old file's name and no reader can
            pair an old index with new data.
        sync: Make it survive a power loss.

    Raises:
        UsageError: `prefix` cannot be one.
        PublishError: It exists, or the system refuses something. What was there before is there still.
    """
    refuse_prefix(prefix, force=force)
    base = os.path.basename(prefix)
    meta = prefix + naming.META
    with Publication(naming.index_file(prefix), force=force, sync=sync) as publication:
        existing = naming.existing_data_files(prefix)
        replaced = [path for paths in existing.values() for path in paths]
        if os.path.lexists(meta):
            replaced.append(meta)
        if replaced and not force:
            raise exists(replaced[0])
        publication.replaces(replaced)
        num_shards = min(set(range(num_files, num_files + len(existing) + 1)) - set(existing))
        linked = write(publication.staged(base), num_shards) or ()
        writes_meta = os.path.lexists(publication.staged(base + naming.META))
        publication.publish(
            check=lambda: check(publication.staged(base)),
            accompanying=[base + naming.META] if writes_meta else [],
            linked=linked,
        )


def refuse_prefix(prefix: str, *, force: bool = False) -> None:
    """Raise if nothing can be written under `prefix`, as far as that can be told beforehand.

    Raises:
        UsageError: `prefix` cannot be one, or its ending says another format.
        PublishError: A file lies where its directory would be; or, without `force`, there is a checkpoint.
    """
    refuse_ending(prefix)
    owner = naming.prefix_of(prefix)
    if owner is not None:
        if not os.path.basename(owner):  # which can be read, but is no name to write to
            owner += "model.ckpt"
        raise UsageError(
            f"{prefix}: names one file of a checkpoint, not its prefix", hint=f"write to {owner}"
        )
    if not os.path.basename(prefix) or os.path.isdir(prefix):
        raise UsageError(
            f"{prefix}: is a directory, not the prefix of a checkpoint",
            hint=f"write to {os.path.join(prefix, 'model.ckpt')}",
        )
    if os.path.lexists(prefix):
        raise PublishError(f"{prefix}: a file of this name exists", path=prefix, hint="choose another prefix")
    refuse_destination(naming.index_file(prefix), force=force)
