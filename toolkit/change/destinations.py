"""Files that `export` writes: which OUT is one, and which options its format has."""

from __future__ import annotations

from toolkit.arguments import choose
from toolkit.errors import UsageError
from toolkit.formats.endings import ENDINGS, ending_of
from toolkit.units import parse_size

LAYOUTS = ("tf", "keras")


def format_of(out: str) -> str:
    """Return the format that the ending of `out` says: `hdf5`, `safetensors` or `npz`.

    Raises:
        UsageError: It says none that is exported without a model.
    """
    ending = ending_of(out)
    if ending is not None and ending.format == "keras-weights" and ending.is_exported:
        raise UsageError(
            f"{out}: this ending means Keras 3's own layout",
            hint="--model MODULE:FUNCTION writes it to OUT.weights.h5; else end it in .h5 alone",
        )
    if ending is None or not ending.is_exported:
        exported = [each.text for each in ENDINGS if each.is_exported and each.format != "keras-weights"]
        what = "cannot tell the format from the name"
        if ending is not None and ending.format != "other":
            what = f"{ending.what} is not exported"
        raise UsageError(f"{out}: {what}", hint=f"end OUT in {', '.join(exported[:-1])} or {exported[-1]}")
    return ending.format


def check_destination(
    out: str,
    *,
    compress: str | None = None,
    checksum: bool = False,
    max_shard_size: str | int | None = None,
    layout: str = "tf",
    stats: bool = False,
) -> str:
    """Return the format that `out` says, having checked that it has what is asked for.

    Raises:
        UsageError: `out` says no format that is exported, or an option is not for that one.
    """
    kind = format_of(out)
    choose("layout", layout, LAYOUTS)
    if layout != "tf" and kind != "hdf5":
        raise UsageError("--layout is for HDF5", hint="leave it out, or end OUT in .h5")
    if compress is not None:
        choose("compress", compress, ("gzip",))
    if compress and kind == "safetensors":
        raise UsageError("safetensors has no compression", hint="leave --compress out")
    if stats and kind != "hdf5":
        raise UsageError("--stats is for HDF5", hint="leave it out, or end OUT in .h5")
    if checksum and kind != "hdf5":
        raise UsageError("--checksum is for HDF5: this format always has one", hint="leave it out")
    if max_shard_size is not None and kind != "safetensors":
        raise UsageError(
            "--max-shard-size: this format is one file", hint="leave it out, or end OUT in .safetensors"
        )
    if max_shard_size is not None:
        parse_size(max_shard_size)
    return kind
