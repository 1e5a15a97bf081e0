"""What Keras's own layers keep: the names of their variables in order, which are trained, the layers in them.

Keras 3 writes the variables of a layer by number. Which number is what follows from the class, and from what
its configuration leaves out (`use_bias`, `scale`, `center`). Of a class that is not here nothing is assumed.

Source: keras/src/layers; keras/src/utils/naming.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from toolkit.formats.keras.config import Described, described, name_of

Shape = tuple[int, ...]

_RENORM = ("moving_stddev", "renorm_mean", "renorm_stddev")
_UNTRAINED = frozenset(
    (
        *("moving_mean", "moving_variance", "mean", "variance", "count", "vector_u", "g_idx"),
        *_RENORM,
    )
)
"""What layers keep that is never trained."""
_CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "SimpleRNN": "SimpleRNNCell"}
"""The cell that a recurrent layer makes for itself; those of ConvLSTM are all ConvLSTMCells."""
_QUANTIZED = ("kernel_scale", "kernel_zero", "g_idx")
_FLOAT8 = tuple(
    f"{what}_{kept}" for what in ("inputs", "kernel", "outputs_grad") for kept in ("scale", "amax_history")
)
_ATTENTION = (
    ("query_dense", "query"),
    ("key_dense", "key"),
    ("gate_dense", "gate"),
    ("value_dense", "value"),
    ("output_dense", "attention_output"),
)
_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"use_bias": False, "bias_axes": None},
    {"scale": False},
    {"center": False},
    {"scale": False, "center": False},
    {"tie_weights": False},
    {"use_scale": True},
)
"""What a layer may have left out, where that is not told."""
_BY_SNAKE_NAME: dict[str, str] = {}
"""Classes whose variables are known, by what a group of Keras 3's is called after them."""


class Child(NamedTuple):
    """A layer in a layer.

    Attributes:
        attribute: What the layer calls it, and so its group; `_` before it is left out.
        layer: What it is; `None` where that is not told.
        name: Its own name; empty where only the file tells that.
    """

    attribute: str
    layer: Described | None
    name: str


def snake_name(class_name: str) -> str:
    """Return the name of a class in snake case, as Keras has it: `batch_normalization`."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def by_snake_name(name: str) -> str | None:
    """Return the class of Keras's that a group is called after: of `dense_1`, `Dense`. `None` if none is."""
    return _BY_SNAKE_NAME.get(name) or _BY_SNAKE_NAME.get(re.sub(r"_\d+\Z", "", name))


def variable_names(layer: Described, shapes: Sequence[Shape]) -> list[tuple[str, ...]]:
    """Return the possible names of a layer's own variables, in order: one way where its configuration tells.

    Args:
        layer: Its class and configuration.
        shapes: Of the variables that it has; they must fit.
    """
    configs = [layer.config] if layer.is_whole else [{**layer.config, **given} for given in _VARIANTS]
    found = []
    for config in configs:
        names = _expected(layer._replace(config=config), len(shapes))
        if names is not None and len(names) == len(shapes) and names not in found and _fit(names, shapes):
            found.append(names)
    return found


def is_untrained(name: str) -> bool:
    """Return whether what a layer calls so is never trained."""
    return name in _UNTRAINED or name.endswith(("_scale", "_zero", "_amax_history"))


def is_known(layer: Described) -> bool:
    """Return whether it is told in which order such a layer lists the layers in it."""
    return layer.is_keras and layer.class_name in _KNOWN


def children(layer: Described) -> list[Child]:
    """Return the layers in one of Keras's own layers, in the order in which it lists their variables."""
    found = _children(layer) if layer.is_keras else []
    if layer.is_whole:
        return found
    return [c._replace(layer=c.layer and c.layer._replace(is_whole=False)) for c in found]


def _children(layer: Described) -> list[Child]:
    class_name, config = layer.class_name, layer.config
    if class_name == "Bidirectional":
        forward = described(config.get("layer"))
        backward = described(config.get("backward_layer")) or forward
        name = name_of(forward)  # which Keras gave it
        given = name_of(described(config.get("backward_layer")))
        if not name.startswith("forward_") and name:
            name, given = f"forward_{name}", given or f"backward_{name}"
        return [
            Child("forward_layer", forward, name),
            Child("backward_layer", backward, given or name.replace("forward_", "backward_", 1)),
        ]
    if class_name in ("TimeDistributed", "SpectralNormalization", "Wrapper"):
        inner = described(config.get("layer"))
        return [Child("layer", inner, name_of(inner))]
    if class_name == "RNN":
        cell = described(config.get("cell"))
        return [Child("cell", cell, name_of(cell))]
    if class_name in _CELLS or class_name.startswith("ConvLSTM"):
        cell_class = _CELLS.get(class_name, "ConvLSTMCell")
        name = "conv_lstm_cell" if class_name.startswith("ConvLSTM") else snake_name(cell_class)
        return [Child("cell", Described(cell_class, _without_name(config)), name)]
    if class_name in ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention"):
        axes = {"bias_axes": "e" if config.get("use_bias", True) else None}
        return [Child(attribute, Described("EinsumDense", axes), name) for attribute, name in _ATTENTION]
    return []


def cells(layer: Described) -> list[Described | None] | None:
    """Return the cells that are stacked in one; `None` if `layer` is no such thing."""
    given = layer.config.get("cells")
    if layer.class_name != "StackedRNNCells" or not isinstance(given, list):
        return None
    return [described(cell) for cell in given]


def _without_name(config: Any) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "name"}


def _expected(layer: Described, count: int) -> tuple[str, ...] | None:
    """Return the names of the variables that such a layer makes."""
    names = _PLAIN.get(layer.class_name) if layer.is_keras else None
    config = layer.config
    if names is None or config.get("lora_rank"):
        return None
    kept = tuple(name for name in names if _has(name, layer.class_name, config))
    if layer.class_name in ("Dense", "EinsumDense", "Embedding") and count > len(kept):
        mode = _quantization(config)
        if mode == "float8":
            return (*kept, *_FLOAT8)
        if mode in ("int8", "int4"):
            if layer.class_name == "Embedding":
                return (*kept, "embeddings_scale")[:count]
            return (*kept, *_QUANTIZED)[:count]
    if config.get("renorm"):
        return (*kept, *_RENORM)
    if layer.class_name == "Normalization" and count == 3:
        return ("mean", "variance", "count")  # Keras 2
    return kept


def _has(name: str, class_name: str, config: Any) -> bool:
    """Return whether a layer of this configuration makes the variable `name`."""
    if name == "bias":
        return (
            config.get("bias_axes", "e") is not None
            if class_name == "EinsumDense"
            else _flag(config, "use_bias")
        )
    if name in ("gamma", "beta"):
        if config.get("rms_scaling") and name == "beta":
            return False
        return _flag(config, "scale" if name == "gamma" else "center")
    if name == "concat_score_weight":
        return bool(config.get("score_mode") == "concat")
    if class_name in ("Attention", "AdditiveAttention") and name == "scale":
        return bool(config.get("use_scale", class_name == "AdditiveAttention"))
    if name == "reverse_embeddings":
        return not _flag(config, "tie_weights")
    return True


def _flag(config: Any, name: str) -> bool:
    return bool(config.get(name, True))


def _quantization(config: Any) -> str:
    policy = config.get("dtype")
    inner = policy.get("config") if isinstance(policy, dict) else None
    mode = inner.get("mode") if isinstance(inner, dict) else None
    return mode.partition("/")[0].partition("_")[0] if isinstance(mode, str) else ""


def _fit(names: Sequence[str], shapes: Sequence[Shape]) -> bool:
    """Return whether variables of these names may have these shapes."""
    by_name = dict(zip(names, shapes, strict=True))
    kernel = next((by_name[n] for n in ("kernel", "depthwise_kernel", "embeddings") if n in by_name), None)
    if kernel is not None and len(kernel) < 2:
        return False
    if "recurrent_kernel" in by_name and len(by_name["recurrent_kernel"]) != len(kernel or ()):
        return False
    if kernel is not None and "bias" in by_name and not 1 <= len(by_name["bias"]) < max(len(kernel), 3):
        return False
    if "gamma" in by_name or "moving_mean" in by_name:
        return len(set(shapes)) == 1
    return True


_KERNEL = ("kernel", "bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_PLAIN: dict[str, tuple[str, ...]] = {
    "Dense": _KERNEL,
    "EinsumDense": _KERNEL,
    **{f"{kind}{n}D{end}": _KERNEL for kind in ("Conv",) for n in (1, 2, 3) for end in ("", "Transpose")},
    **{f"DepthwiseConv{n}D": _KERNEL for n in (1, 2)},
    **{f"SeparableConv{n}D": _SEPARABLE for n in (1, 2)},
    "Embedding": ("embeddings",),
    "ReversibleEmbedding": ("embeddings", "reverse_embeddings"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "SyncBatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "LayerNormalization": ("gamma", "beta"),
    "GroupNormalization": ("gamma", "beta"),
    "RMSNormalization": ("scale",),
    "Normalization": ("mean", "variance"),
    "SpectralNormalization": ("vector_u",),
    "PReLU": ("alpha",),
    "Attention": ("scale", "concat_score_weight"),
    "AdditiveAttention": ("scale",),
    "LSTMCell": _RECURRENT,
    "GRUCell": _RECURRENT,
    "SimpleRNNCell": _RECURRENT,
    "ConvLSTMCell": _RECURRENT,
}
_KNOWN = frozenset(
    (
        *_PLAIN,
        *_CELLS,
        *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "RNN", "StackedRNNCells", "Bidirectional"),
        *("TimeDistributed", "MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention"),
    )
)
_BY_SNAKE_NAME.update({snake_name(name): name for name in _KNOWN if "Cell" not in name or name in _PLAIN})
