"""How much of a long work is done, for a person at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn


@contextlib.contextmanager
def bar(stream: TextIO, num_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on `stream` while bytes are worked through; it goes when the work is done.

    Args:
        stream: A terminal.
        num_bytes: How many there are in all.

    Yields:
        What is to be told the number of bytes that are done, each time some more are.
    """
    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as shown:
        task = shown.add_task("", total=num_bytes)

        def advance(done: int) -> None:
            shown.advance(task, done)

        yield advance
