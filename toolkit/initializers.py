"""Initial values, by TensorFlow's definitions, in NumPy.

A SPEC is a name with its numbers: `zeros`, `constant:0.1`, `normal:0,0.02`, `he_normal`. Fans, bounds
and variances are TensorFlow's; the random numbers are NumPy's, from a seed and the variable's name, so
that the values of one variable do not depend on which others are initialized with it.

Source: tensorflow/python/ops/init_ops.py.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from toolkit.dtypes import DType
from toolkit.errors import UsageError
from toolkit.roles import ATTRIBUTE

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of a standard normal truncated at two (init_ops.py, VarianceScaling)."""
_BLOCK = 1 << 20
"""Random numbers are drawn so many at a time: in double precision, then rounded to the dtype."""


class Spec(NamedTuple):
    """A SPEC that has been read: its name and its numbers."""

    name: str
    numbers: tuple[float, ...]

    def __str__(self) -> str:
        numbers = ",".join(f"{number:g}" for number in self.numbers)
        return f"{self.name}:{numbers}" if numbers else self.name


@dataclass(frozen=True)
class _Definition:
    """How one initializer is written and what it fills: an array of doubles, given the shape."""

    parameters: tuple[str, ...]
    fill: Callable[[Array, Shape, tuple[float, ...], np.random.Generator], None]
    random: bool = True


def parse(text: str) -> Spec:
    """Return the initializer that `text` names.

    Raises:
        UsageError: There is none of this name, or its numbers are not what it takes.
    """
    name, _, rest = text.partition(":")
    definition = _DEFINITIONS.get(name)
    if definition is None:
        raise UsageError(f"{text!r}: no such initializer", hint=f"one of: {known_specs()}")
    try:
        numbers = tuple(float(part) for part in rest.split(",")) if rest else ()
    except ValueError:
        numbers = (math.nan,)
    if len(numbers) != len(definition.parameters) or not all(map(math.isfinite, numbers)):
        wanted = ",".join(definition.parameters)
        raise UsageError(f"{text!r}: expected {name}{':' if wanted else ''}{wanted}")
    if "STDDEV" in definition.parameters and numbers[1] < 0:
        raise UsageError(f"{text!r}: expected a standard deviation of 0 or more")
    if "HIGH" in definition.parameters and numbers[0] > numbers[1]:
        raise UsageError(f"{text!r}: expected LOW to be at most HIGH")
    return Spec(name, numbers)


def known_specs() -> str:
    """Return the initializers there are, as they are written."""
    return ", ".join(
        name + (":" if d.parameters else "") + ",".join(d.parameters)
        for name, d in _DEFINITIONS.items()
    )


def values(spec: Spec, shape: Shape, dtype: DType, *, seed: int, name: str) -> Array:
    """Return a new array of `shape` and `dtype`, filled by the initializer `spec`.

    Args:
        spec: The initializer.
        shape: Sizes of the dimensions. Kernels are `(…receptive field, inputs, outputs)`.
        dtype: Random values need a floating-point dtype.
        seed: 0 or more; the same seed and name give the same values.
        name: The variable's name.

    Raises:
        UsageError: The initializer has no values of this shape or dtype.
    """
    definition = _DEFINITIONS[spec.name]
    if dtype.kind == "string" and spec.name == "zeros":
        return np.full(shape, b"", object)
    if dtype.kind in ("string", "handle") or (definition.random and dtype.kind != "float"):
        raise UsageError(f"{name}: {spec} has no values of dtype {dtype}")
    generator = np.random.Generator(np.random.PCG64(_seed_sequence(seed, name)))
    filled = np.empty(shape, dtype.numpy)
    flat = filled.reshape(-1)
    if spec.name in _WHOLE:
        block = np.empty(math.prod(shape))
        try:
            definition.fill(block, shape, spec.numbers, generator)
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}") from None
        flat[:] = _rounded(block, spec, name, dtype)
        return filled
    for start in range(0, flat.size, _BLOCK):
        block = np.empty(min(_BLOCK, flat.size - start))
        definition.fill(block, shape, spec.numbers, generator)
        flat[start : start + block.size] = _rounded(block, spec, name, dtype)
    return filled


def default_spec(name: str, shape: Shape, dtype: DType) -> tuple[Spec, str]:
    """Return the initializer for a variable of which nothing but this is known, and why that one.

    Kernels start with glorot_uniform, biases and betas with zeros, gammas and moving variances with
    ones; what the name does not tell, the shape does.

    Raises:
        UsageError: It is a string, which has no initial value.
    """
    if dtype.kind in ("string", "handle"):
        raise UsageError(
            f"{name}: no default initial value for dtype {dtype}",
            hint="leave it out with --exclude, or give --init",
        )
    leaf = name.removesuffix(ATTRIBUTE).rpartition("/")[2].lower()
    leaf = re.sub(r"_\d+\Z", "", leaf)
    if dtype.kind != "float":
        return Spec("zeros", ()), f"{dtype} starts with zeros"
    if re.fullmatch(r"(.*_)?(gamma|scale|moving_variance|variance|stddev)", leaf):
        return Spec("ones", ()), f"{leaf}: ones by name"
    if re.fullmatch(r"(.*_)?(bias|biases|b|beta|moving_mean|mean|offset)", leaf):
        return Spec("zeros", ()), f"{leaf}: zeros by name"
    if len(shape) >= 2:
        known = re.fullmatch(r"(.*_)?(kernel|weights?|w|embeddings?|filters?)", leaf)
        why = f"{leaf}: by name" if known else f"{len(shape)} dimensions: by shape"
        return Spec("glorot_uniform", ()), f"{why} as a kernel"
    return Spec("zeros", ()), f"{len(shape)} dimension{'s'[: len(shape) != 1]}: zeros by shape"


def fans(shape: Shape) -> tuple[int, int]:
    """Return the inputs and outputs of a kernel of `shape`: of one element, for all it sees.

    Source: init_ops.py, _compute_fans.
    """
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    receptive_field = math.prod(shape[:-2])
    return shape[-2] * receptive_field, shape[-1] * receptive_field


def _seed_sequence(seed: int, name: str) -> np.random.SeedSequence:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return np.random.SeedSequence([seed, int.from_bytes(digest[:16], "little")])


def _rounded(block: Array, spec: Spec, name: str, dtype: DType) -> Array:
    """Return `block` in `dtype`; what a whole number type cannot hold is an error."""
    if dtype.kind in ("float", "complex"):
        return block.astype(dtype.numpy)
    rounded = block.astype(dtype.numpy)
    if block.size and float(rounded[0]) != block[0]:
        raise UsageError(f"{name}: {spec} does not fit dtype {dtype}")
    return rounded


def _constant(value: float | None) -> Callable[..., None]:
    def fill(
        out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
    ) -> None:
        out[:] = numbers[0] if value is None else value

    return fill


def _normal(
    out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
) -> None:
    out[:] = rng.normal(*numbers, size=out.size)


def _uniform(
    out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
) -> None:
    out[:] = rng.uniform(*numbers, size=out.size)


def _truncated_normal(
    out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
) -> None:
    """Draw anew what lies further than two standard deviations from the mean."""
    mean, stddev = numbers
    drawn = rng.standard_normal(out.size)
    while (outside := np.flatnonzero(np.abs(drawn) > 2)).size:
        drawn[outside] = rng.standard_normal(outside.size)
    out[:] = mean + stddev * drawn


def _variance_scaling(scale: float, mode: str, distribution: str) -> _Definition:
    """Return the initializer of variance scale / fan (init_ops.py, VarianceScaling)."""

    def fill(
        out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
    ) -> None:
        fan_in, fan_out = fans(shape)
        fan = max(1.0, fan_in if mode == "fan_in" else (fan_in + fan_out) / 2)
        if distribution == "uniform":
            limit = math.sqrt(3 * scale / fan)
            _uniform(out, shape, (-limit, limit), rng)
        else:
            stddev = math.sqrt(scale / fan) / _TRUNCATED_STDDEV
            _truncated_normal(out, shape, (0.0, stddev), rng)

    return _Definition((), fill)


def _orthogonal(
    out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
) -> None:
    """Fill with an orthogonal matrix: the Q of a normal one, signs as if R's diagonal were positive."""
    if len(shape) < 2:
        raise UsageError(f"orthogonal needs 2 dimensions or more, got {shape}")
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    out[:] = (q if rows >= columns else q.T).reshape(-1)


def _identity(
    out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator
) -> None:
    if len(shape) != 2:
        raise UsageError(f"identity needs 2 dimensions, got {shape}")
    out[:] = np.eye(*shape).reshape(-1)


_DEFINITIONS = {
    "zeros": _Definition((), _constant(0.0), random=False),
    "ones": _Definition((), _constant(1.0), random=False),
    "constant": _Definition(("VALUE",), _constant(None), random=False),
    "normal": _Definition(("MEAN", "STDDEV"), _normal),
    "truncated_normal": _Definition(("MEAN", "STDDEV"), _truncated_normal),
    "uniform": _Definition(("LOW", "HIGH"), _uniform),
    "glorot_uniform": _variance_scaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": _variance_scaling(1.0, "fan_avg", "truncated_normal"),
    "he_uniform": _variance_scaling(2.0, "fan_in", "uniform"),
    "he_normal": _variance_scaling(2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": _variance_scaling(1.0, "fan_in", "uniform"),
    "lecun_normal": _variance_scaling(1.0, "fan_in", "truncated_normal"),
    "orthogonal": _Definition((), _orthogonal),
    "identity": _Definition((), _identity, random=False),
}
_WHOLE = {"orthogonal", "identity"}
"""Those that fill the array as a whole, not element by element."""
