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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from toolkit import casting, names
from toolkit.dtypes import DType
from toolkit.errors import UsageError
from toolkit.roles import ATTRIBUTE
from toolkit.wording import typed

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of a standard normal truncated at two (init_ops.py, VarianceScaling)."""
_BY_NAME = (
    ("gamma|scale|moving_variance|variance", "scale", "ones", 0),
    ("bias|biases|b|beta|moving_mean|mean|offset", "bias", "zeros", 0),
    ("kernel|weights?|w|embeddings?|filters?", "kernel", "glorot_uniform", 2),
)
"""What the last part of a name says of a variable: pattern, what it is, initializer, dimensions."""
_FAR = 6
"""Standard deviations further than which a normal distribution hardly reaches: once in 5e8."""
_BLOCK = 1 << 20
"""Random numbers are drawn so many at a time: in double precision, then rounded to the dtype."""


class Spec(NamedTuple):
    """A SPEC that has been read: its name and its numbers. As text it reads back as what it is."""

    name: str
    numbers: tuple[float, ...]

    def __str__(self) -> str:
        numbers = ",".join(repr(number).removesuffix(".0") for number in self.numbers)
        return f"{self.name}:{numbers}" if numbers else self.name


@dataclass(frozen=True)
class _Definition:
    """How one initializer is written and what it fills: an array of doubles, given the shape."""

    parameters: tuple[str, ...]
    fill: Callable[[Array, Shape, tuple[float, ...], np.random.Generator], None]
    random: bool = True
    whole: bool = False
    """Whether it fills the array as a whole, not element by element."""
    for_kernels: bool = False
    """Whether it is meant for kernels: by fans, or a matrix."""
    num_dimensions: range | None = None
    """How many dimensions it needs, if it does not take any number."""


def parse(text: str) -> Spec:
    """Return the initializer that `text` names.

    Raises:
        UsageError: There is none of this name, or its numbers are not what it takes.
    """
    name, _, rest = text.partition(":")
    definition = _DEFINITIONS.get(name)
    if definition is None:
        near = names.nearest(name.lower(), list(_DEFINITIONS), count=1)
        if not math.isnan(_number(text)):
            near = [f"constant:{name}"]
        nearest = f"the nearest: {near[0]}; " if near else ""
        raise UsageError(f"{text!r}: no such initializer", hint=f"{nearest}one of: {known_specs()}")
    numbers = tuple(map(_number, rest.split(","))) if rest else ()
    wanted = ",".join(definition.parameters)
    hint = f"write {name}:{wanted} with {'a number' if len(definition.parameters) == 1 else 'numbers'}"
    if not wanted:
        hint = f"write {name} alone"
    if len(numbers) != len(definition.parameters) or not all(map(math.isfinite, numbers)):
        raise UsageError(f"{text!r}: expected {name}{':' if wanted else ''}{wanted}", hint=hint)
    if "STDDEV" in definition.parameters and numbers[1] < 0:
        raise UsageError(f"{text!r}: expected a standard deviation of 0 or more", hint=hint)
    if "HIGH" in definition.parameters and numbers[0] > numbers[1]:
        raise UsageError(f"{text!r}: expected LOW to be at most HIGH", hint=hint)
    return Spec(name, numbers)


def _number(text: str) -> float:
    """Return the finite number that `text` is, a whole one as an `int`, exactly; NaN if it is none."""
    for kind in (int, float):
        try:
            number = kind(text)
            return number if math.isfinite(number) else math.nan
        except (ValueError, OverflowError):
            continue
    return math.nan


def known_specs() -> str:
    """Return the initializers there are, as they are written."""
    return ", ".join(
        name + (":" if d.parameters else "") + ",".join(d.parameters) for name, d in _DEFINITIONS.items()
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
    check(spec, shape, dtype, name)
    if dtype.kind == "string":
        return np.full(shape, b"", object)
    filled = np.empty(shape, dtype.numpy)
    flat = filled.reshape(-1)
    start = 0
    for block in blocks(spec, shape, dtype, seed=seed, name=name):
        flat[start : start + block.size] = block
        start += block.size
    return filled


def blocks(spec: Spec, shape: Shape, dtype: DType, *, seed: int, name: str) -> Iterator[Array]:
    """Yield the values that `values` returns, of a dtype that is not `string`, in one-dimensional blocks.

    Nothing is held but a block, except by `orthogonal`, which is made as a whole.

    Raises:
        UsageError: The initializer has no values of this shape or dtype.
    """
    check(spec, shape, dtype, name)
    definition = _DEFINITIONS[spec.name]
    generator = np.random.Generator(np.random.PCG64(_seed_sequence(seed, name)))
    size = math.prod(shape)
    step = max(size, 1) if definition.whole else _BLOCK
    for start in range(0, size, step):
        length = min(step, size - start)
        if spec.name == "constant" and isinstance(spec.numbers[0], int):
            yield np.full(length, spec.numbers[0], dtype.numpy)  # through a double it might be rounded
        else:
            block = np.empty(length)
            definition.fill(block, shape, spec.numbers, generator)
            yield block.astype(dtype.numpy)


def is_random(spec: Spec) -> bool:
    """Return whether `spec` draws random numbers."""
    return _DEFINITIONS[spec.name].random


def suits(spec: Spec, shape: Shape, dtype: DType) -> bool:
    """Return whether `spec`, of many variables, means one of this shape and dtype too.

    What draws random numbers means floats, and what goes by fans or makes matrices means kernels.
    """
    definition = _DEFINITIONS[spec.name]
    if definition.random and dtype.kind != "float":
        return False
    return len(shape) >= 2 or not definition.for_kernels


def check(spec: Spec, shape: Shape, dtype: DType, name: str) -> None:
    """Raise unless `spec` has values of this shape and dtype.

    Raises:
        UsageError: It has not.
    """
    definition = _DEFINITIONS[spec.name]
    if dtype.kind in ("string", "handle"):
        if dtype.kind == "handle" or spec.name != "zeros":
            raise _unfit(spec, name, f"has no values of dtype {dtype}")
    elif definition.random and dtype.kind != "float":
        raise _unfit(spec, name, f"has no values of dtype {dtype}")
    elif definition.num_dimensions is not None and len(shape) not in definition.num_dimensions:
        raise _unfit(spec, name, f"has no values of shape {shape}")
    elif not _fits(spec, dtype):
        raise _unfit(spec, name, f"does not fit dtype {dtype}")


def _unfit(spec: Spec, name: str, why: str) -> UsageError:
    return UsageError(
        f"{name}: {spec} {why}", hint=f"leave it out with {typed('exclude', name)}, or choose another"
    )


def _fits(spec: Spec, dtype: DType) -> bool:
    """Return whether the numbers that `spec` gives, or draws, are within what `dtype` can say."""
    if not spec.numbers:
        return True
    value, spread = spec.numbers[0], 0.0
    if spec.name in ("normal", "truncated_normal"):
        spread = spec.numbers[1] * (2 if spec.name == "truncated_normal" else _FAR)
    elif spec.name == "uniform":
        value = max(map(abs, spec.numbers))
        spread = math.inf if math.isinf(spec.numbers[1] - spec.numbers[0]) else 0.0
    if dtype.kind in ("int", "quantized"):
        low, high = casting.limits(dtype)
        return value == int(value) and low <= value <= high
    if dtype.kind == "bool":
        return value in (0, 1)
    return abs(value) + spread <= casting.greatest(dtype)


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
    if dtype.kind != "float":
        return Spec("zeros", ()), f"of dtype {dtype}"
    leaf = name.removesuffix(ATTRIBUTE).rpartition("/")[2].lower()
    leaf = re.sub(r"_\d+\Z", "", leaf)
    for pattern, kind, initializer, least in _BY_NAME:
        if re.fullmatch(rf"(.*_)?({pattern})", leaf) and len(shape) >= least:
            return Spec(initializer, ()), f"{kind} by name"
    if len(shape) >= 2:
        return Spec("glorot_uniform", ()), "kernel by shape"
    return Spec("zeros", ()), "vector by shape" if shape else "scalar"


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


def _constant(value: float | None) -> Callable[..., None]:
    def fill(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
        out[:] = numbers[0] if value is None else value

    return fill


def _normal(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
    mean, stddev = numbers
    out[:] = rng.normal(mean, stddev, size=out.size)


def _uniform(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
    low, high = numbers
    out[:] = rng.uniform(low, high, size=out.size)


def _truncated_normal(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
    """Draw anew what lies further than two standard deviations from the mean."""
    mean, stddev = numbers
    drawn = rng.standard_normal(out.size)
    while (outside := np.flatnonzero(np.abs(drawn) > 2)).size:
        drawn[outside] = rng.standard_normal(outside.size)
    out[:] = mean + stddev * drawn


def _variance_scaling(scale: float, mode: str, distribution: str) -> _Definition:
    """Return the initializer of variance scale / fan (init_ops.py, VarianceScaling)."""

    def fill(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
        fan_in, fan_out = fans(shape)
        fan = max(1.0, fan_in if mode == "fan_in" else (fan_in + fan_out) / 2)
        if distribution == "uniform":
            limit = math.sqrt(3 * scale / fan)
            _uniform(out, shape, (-limit, limit), rng)
        else:
            stddev = math.sqrt(scale / fan) / _TRUNCATED_STDDEV
            _truncated_normal(out, shape, (0.0, stddev), rng)

    return _Definition((), fill, for_kernels=True)


def _orthogonal(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
    """Fill with an orthogonal matrix: the Q of a normal one, signs as if R's diagonal were positive."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    out[:] = (q if rows >= columns else q.T).reshape(-1)


def _identity(out: Array, shape: Shape, numbers: tuple[float, ...], rng: np.random.Generator) -> None:
    rows, columns = shape
    out[:] = np.eye(rows, columns).reshape(-1)


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
    "orthogonal": _Definition((), _orthogonal, whole=True, for_kernels=True, num_dimensions=range(2, 255)),
    "identity": _Definition(
        (), _identity, random=False, whole=True, for_kernels=True, num_dimensions=range(2, 3)
    ),
}
