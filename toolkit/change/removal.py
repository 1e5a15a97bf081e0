"""The files of a checkpoint, and removing them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from toolkit.errors import PublishError
from toolkit.formats.bundle import naming


def files_of(prefix: str) -> list[str]:
    """Return the paths of the files of the checkpoint `prefix`, of a bundle the index first.

    A file that is called just `prefix` is one of them only where there is no index: a V1 checkpoint, a file
    of weights.
    """
    index, meta = naming.index_file(prefix), prefix + naming.META
    data = [path for paths in naming.existing_data_files(prefix).values() for path in paths]
    first = [index] if os.path.lexists(index) else [*naming.v1_files(prefix), prefix] if not data else []
    return [path for path in [*first, meta] if os.path.isfile(path)] + data


def remove_files(paths: Iterable[str]) -> None:
    """Remove files, in order; those that are gone already are no error.

    Raises:
        PublishError: The system refuses it.
    """
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PublishError(
                f"{path}: cannot be removed: {(error.strerror or str(error)).lower()}",
                path=path,
                hint="see who may write here, and run it again",
            ) from error
