"""What Keras writes beside the weights: of which model, trained by which optimizer, by which version.

    .keras       config.json {class_name, config, compile_config {optimizer}},
                 metadata.json {keras_version, date_saved}
    whole .h5    attributes keras_version, model_config {class_name, config},
                 training_config {optimizer_config}
    .weights.h5  nothing

Anybody may have written it: what cannot be read as JSON, or is not what it should be, counts as not said.

Source: keras/src/saving/saving_lib.py; keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

Json = Mapping[str, Any]

_MAX_BYTES = 256 << 20
"""Of a configuration that is read; those of the largest published models have a few MB."""


class Described(NamedTuple):
    """An object as Keras writes it down: the name of its class, and its configuration.

    Attributes:
        class_name: Without the package that it is registered in: `Adam`, not `Custom>Adam`.
        config: Its configuration; empty where there is none.
        is_keras: Whether it is a class of Keras's own; one of a user's may have the same name.
        is_whole: Whether the configuration is told; `False` where only the name of a group tells the class.
    """

    class_name: str
    config: Json
    is_keras: bool = True
    is_whole: bool = True


class Config(NamedTuple):
    """What a file says beside its weights.

    Attributes:
        model: The model; `None` where it is not said.
        optimizer: The optimizer that it was compiled with; `None` where it is not said.
        version: Keras's version: `3.15.1`.
        saved_at: When it was saved, as Keras has it: `2024-05-01@12:00:00`.
    """

    model: Described | None = None
    optimizer: Described | None = None
    version: str | None = None
    saved_at: str | None = None


NOTHING = Config()
"""What a file of weights says."""


def of_archive(config: bytes | None, metadata: bytes | None) -> Config:
    """Return the configuration of a `.keras` archive, or of a folder of the same files.

    Args:
        config: The content of `config.json`, if there is one.
        metadata: The content of `metadata.json`, if there is one.
    """
    told, about = _object(config), _object(metadata)
    optimizer = _mapping(told.get("compile_config")).get("optimizer")
    return Config(
        described(told),
        described(optimizer),
        _text(about.get("keras_version")),
        _text(about.get("date_saved")),
    )


def of_attributes(attributes: Mapping[str, Any]) -> Config:
    """Return the configuration in the attributes of the root of a whole model's `.h5`."""
    training = _object(attributes.get("training_config"))
    return Config(
        described(_object(attributes.get("model_config"))),
        described(training.get("optimizer_config")),
        _text(attributes.get("keras_version")),
    )


def described(value: object) -> Described | None:
    """Return an object as Keras writes it down; `None` if `value` is none.

    An optimizer may also be just its name: `adam`.
    """
    if isinstance(value, str) and value:
        return Described(value, {})
    told = _mapping(value)
    class_name = told.get("class_name")
    if not isinstance(class_name, str) or not class_name:
        return None
    package, _, own = class_name.rpartition(">")
    module = told.get("module", "keras")  # a whole model's .h5 has none
    is_keras = package in ("", "Custom") and isinstance(module, str) and module.split(".")[0] == "keras"
    return Described(own, _mapping(told.get("config")), is_keras)


def layers_of(model: Described | None) -> list[Described] | None:
    """Return the layers of a functional or sequential model, in its order; `None` if it is neither."""
    layers = None if model is None else model.config.get("layers")
    if not isinstance(layers, list):
        return None
    found = []
    for each in layers:
        layer = described(each)
        if layer is None:
            return None
        name = _mapping(each).get("name")
        if isinstance(name, str) and "name" not in layer.config:
            layer = layer._replace(config={**layer.config, "name": name})
        if ".ops." not in str(_mapping(each).get("module")):  # an operation, which is no layer
            found.append(layer)
    return found


def name_of(described: Described | None) -> str:
    """Return the name of an object; empty if the configuration has none."""
    return "" if described is None else _text(described.config.get("name")) or ""


def _object(text: object) -> Json:
    """Return a JSON object; an empty one if `text` is none."""
    if not isinstance(text, bytes | str) or not text or len(text) > _MAX_BYTES:
        return {}
    try:
        return _mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str) and value else None
