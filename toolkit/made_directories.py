"""Directories that are made for what is to be written, and removed again where nothing comes of it."""

from __future__ import annotations

import os


class MadeDirectories:
    """A directory and those above it, as far as they do not exist yet.

    Attributes:
        made: Those that were made, the outermost first.

    Args:
        directory: The path; the empty one is the current directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.made: list[str] = []

    def make(self) -> None:
        """Make what does not exist. What somebody else makes meanwhile is theirs.

        Raises:
            OSError: The system refuses it.
        """
        for directory in missing_directories(self._directory):
            self.made.append(directory)  # before it is: an interrupt may come right after
            try:
                os.mkdir(directory)
            except FileExistsError:
                self.made.pop()
            except OSError:
                self.made.pop()
                raise

    def remove_empty(self) -> None:
        """Remove those that were made, the innermost first, up to one with something in it."""
        while self.made:
            try:
                os.rmdir(self.made[-1])
            except FileNotFoundError:
                pass
            except OSError:
                return
            self.made.pop()


def missing_directories(directory: str) -> list[str]:
    """Return those of a directory and its parents that do not exist, the outermost first."""
    missing = []
    while directory and not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory.rstrip("/"))
    return missing[::-1]


def existing_directory(directory: str) -> str:
    """Return the directory, or the nearest above it that exists, whatever lies there under its name."""
    missing = missing_directories(directory)
    nearest = os.path.dirname(missing[0].rstrip("/")) if missing else directory
    return nearest or "."
