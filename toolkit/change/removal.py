"""Removing the files of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable

from toolkit.errors import PublishError


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
