"""What may be in a checkpoint, as Hypothesis strategies."""

from __future__ import annotations

import math
import os

import numpy as np
from hypothesis import strategies as st

from toolkit import dtypes
from toolkit.dtypes import DType


def examples(count: int) -> int:
    """Return how many examples a property is tried on: `count`, or many times that in `make test-all`."""
    return count * int(os.environ.get("CHECKPOINT_EXAMPLES", "1"))


PLAIN = [d for d in dtypes.BY_NAME.values() if d.itemsize is not None]
"""Every dtype with plain values."""

BITS = {"bool": 1, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
"""Of the dtypes that do not use all bits of their byte: how many, the low ones."""


def shapes(max_dims: int = 8) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of up to eight dimensions, empty ones among them, of at most a few hundred elements."""
    return (
        st.lists(st.integers(0, 4), max_size=max_dims)
        .map(tuple)
        .filter(lambda shape: math.prod(shape) <= 300)
    )


@st.composite
def plain_values(draw: st.DrawFn, dtype: DType) -> np.ndarray:
    """An array of any bits that the dtype can have, NaNs with payloads and negative zeros included."""
    shape = draw(shapes())
    nbytes = math.prod(shape) * dtype.itemsize
    seed = draw(st.integers(0, 2**32 - 1))
    raw = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
    raw &= (1 << BITS.get(dtype.name, 8)) - 1
    return raw.view(dtype.numpy).reshape(shape)


@st.composite
def string_values(draw: st.DrawFn) -> np.ndarray:
    """An array of byte strings: any bytes, some of them longer than one byte's length can say."""
    shape = draw(shapes(3).filter(lambda shape: math.prod(shape) <= 20))
    element = st.binary(max_size=12) | st.integers(120, 40_000).map(lambda n: b"x" * n)
    elements = draw(st.lists(element, min_size=math.prod(shape), max_size=math.prod(shape)))
    values = np.empty(len(elements), object)
    values[:] = elements
    return values.reshape(shape)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/_ab1"), min_size=1, max_size=24
).filter(lambda name: not name.startswith("\0"))
"""Names of variables: any text. (A key that begins with NUL is a slice's.)"""


@st.composite
def tensors(draw: st.DrawFn, plain: list[DType]) -> dict[str, tuple[DType, np.ndarray]]:
    """The content of a checkpoint: dtype and values by name, in any order."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    content = {}
    for name in names:
        dtype = draw(st.sampled_from([*plain, dtypes.BY_NAME["string"]]))
        values = draw(string_values() if dtype.kind == "string" else plain_values(dtype))
        content[name] = (dtype, values)
    return content
