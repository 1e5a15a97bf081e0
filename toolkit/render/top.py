"""The top of a listing: what a checkpoint is, before what is in it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from toolkit.look.about import About, Share
from toolkit.look.inspect import Summary
from toolkit.metadata import Optimizer
from toolkit.names import printable
from toolkit.text import columns, shortened, wrapped
from toolkit.units import count, size

_LABEL_WIDTH = 12
_LARGE_SHARE = 0.5
"""Of the bytes of a checkpoint, from which it is worth knowing that they are slots."""
_SMALL_SHARE = 0.1
"""Of the bytes of data files, up to which it does not matter that nothing uses them (`--data auto`)."""
_MAX_TEXTS = 8
"""Texts that the files carry which are shown, each in a line at most: safetensors may have thousands."""
_MAX_TEXT = 200


def top(summary: Summary, *, width: int | None = None) -> list[str]:
    """Return the first lines of `ckpt inspect`: what it is, and what it comes to as a whole.

    Args:
        summary: Of which checkpoint.
        width: Columns of the terminal; `None` breaks no line.
    """
    about = summary.about
    lines = [*heading(summary.checkpoint.path, about.what, width), *notes(summary, width)]
    for label, text in _facts(summary):
        lines += wrapped(text, width, lead=" " * _LABEL_WIDTH, first=label.ljust(_LABEL_WIDTH))
    return lines


def advice(summary: Summary, width: int | None = None) -> list[str]:
    """Return advice about a checkpoint, with what to type; none about a part of one.

    Args:
        summary: Of which checkpoint.
        width: Columns of the terminal; `None` breaks no line.
    """
    about, checkpoint = summary.about, summary.checkpoint
    if len(summary.variables) < len(summary.roles) or checkpoint.format != "tensorflow-v2":
        return []
    command = f"ckpt edit {shlex.quote(checkpoint.path)} -o OUT"
    texts = []
    if about.slot_bytes >= _LARGE_SHARE * about.nbytes > 0:
        share = about.slot_bytes / about.nbytes
        texts.append(f"slots are {share:.0%} of the bytes: {command} --strip-optimizer leaves them out")
    if about.spare_bytes > _SMALL_SHARE * about.file_bytes:
        spare = size(about.spare_bytes)
        texts.append(
            f"{spare} of the data files are used by no variable: {command} --data copy leaves them out"
        )
    lines = [line for text in texts for line in wrapped(printable(text), width, lead="  ", first="")]
    return ["", *lines] if lines else []


def heading(path: str, what: str, width: int | None = None) -> list[str]:
    """Return a path and what is there: in one line if it fits, else the path in a line of its own."""
    path, what = printable(path), printable(what)
    line = f"{path}: {what}"
    if width is None or columns(line) <= width:
        return [line]
    return [shortened(f"{path}:", width), *wrapped(what, width)]


def notes(summary: Summary, width: int | None = None) -> list[str]:
    """Return lines for the problems of the files of the values."""
    return [line for note in summary.notes for line in wrapped(printable(note), width)]


def dtypes(shares: Sequence[Share]) -> str:
    """Return the dtypes in a line: `float32, 2 int64`, without a number for the most frequent."""
    if not shares:
        return "none"
    first, num_variables = shares[0], sum(share.num_variables for share in shares)
    is_most = 2 * first.num_variables >= num_variables
    numbered = [f"{share.num_variables:,} {share.dtype}" for share in shares]
    return ", ".join([first.dtype, *numbered[1:]] if is_most else numbered)


def _facts(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what is known, each with its label."""
    about = summary.about
    yield "parameters", _parameters(about)
    yield "dtypes", dtypes(about.dtypes)
    yield from _training(about)
    yield "files", _files(about, summary.checkpoint.format)
    texts = list(about.metadata.attributes.items())
    for name, text in texts[:_MAX_TEXTS]:
        yield "attributes", shortened(printable(f"{name}: {text}"), _MAX_TEXT, share=1)
    if len(texts) > _MAX_TEXTS:
        yield "", f"and {count(len(texts) - _MAX_TEXTS, 'more text')} (--json has them)"
    if len(summary.variables) < len(summary.roles):
        chosen = f"{len(summary.variables):,} of {count(len(summary.roles), 'variable')}"
        yield "chosen", f"{chosen}, {count(summary.num_parameters, 'parameter')}"


def _parameters(about: About) -> str:
    text = f"{about.num_parameters:,} in {count(about.num_weights, 'weight')}, {size(about.parameter_bytes)}"
    if about.num_trainable is None:
        return text
    is_all = about.num_trainable == about.num_parameters
    return f"{text}, {'all' if is_all else f'{about.num_trainable:,}'} trainable"


def _training(about: About) -> Iterator[tuple[str, str]]:
    """Yield what is known of the optimizer and of the steps taken."""
    told = [_optimizer(optimizer) for optimizer in about.optimizers]
    told = [text for text in told if text]
    numbers = {"slot": about.num_slots, "moving average": about.num_averages}
    kept = ", ".join(count(number, noun) for noun, number in numbers.items() if number)
    kept += f", {size(about.kept_bytes)}" if kept else ""
    if not told and about.num_slots:
        told = ["not named"]
    elif not told and kept:
        yield "averages", kept
    for number, text in enumerate(told):
        yield ("optimizer" if not number else "", "; ".join(filter(None, [text, "" if number else kept])))
    if about.step is not None:
        yield "step", f"{about.step:,}"


def _optimizer(optimizer: Optimizer) -> str:
    parts = []
    if optimizer.class_name is not None:
        parts.append(printable(optimizer.class_name))
    if optimizer.schedule is not None:
        parts.append(f"learning rate by {printable(optimizer.schedule)}")
    elif optimizer.learning_rate is not None:
        parts.append(f"learning rate {optimizer.learning_rate:.6g}")
    if optimizer.step is not None:
        parts.append(f"step {optimizer.step:,}")
    return ", ".join(parts)


def _files(about: About, told: str) -> str:
    if told == "tensorflow-v2":
        text = f"{count(about.num_files - 1, 'data file')} and the index"
    else:
        text = count(about.num_files, "file")
    missing = f", {about.num_missing} not there" if about.num_missing else ""
    return f"{text}{missing}, {size(about.file_bytes)} on disk"
