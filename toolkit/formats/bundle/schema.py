"""TensorFlow's protocol buffers as far as checkpoints have them, for the protobuf runtime.

Source: tensorflow/core/protobuf (tensor_bundle.proto, trackable_object_graph.proto),
tensorflow/core/framework (tensor_shape.proto, tensor_slice.proto, tensor.proto),
tensorflow/core/util/saved_tensor_slice.proto, tensorflow/python/training/checkpoint_state.proto.
"""

from __future__ import annotations

import functools
from typing import Any


class MessageError(ValueError):
    """A message breaks a rule. The caller knows the file and the name and says so with them."""


def parse(name: str, data: bytes) -> Any:
    """Return the message of that name which `data` is.

    Raises:
        MessageError: It is none.
    """
    from google.protobuf.message import DecodeError

    try:
        return message_class(name).FromString(data)
    except DecodeError as error:
        raise MessageError(f"not a {name}: {error}") from error


# Message: fields as (name, number, type[, label]). A field is "repeated", or "optional" where it means
# something that it is absent. Only what is needed is named; the runtime keeps the rest as unknown fields.
_SCHEMA: dict[str, list[tuple[str, int, str] | tuple[str, int, str, str]]] = {
    "VersionDef": [("producer", 1, "int32"), ("min_consumer", 2, "int32")],
    "BundleHeaderProto": [
        ("num_shards", 1, "int32"),
        ("endianness", 2, "int32"),
        ("version", 3, "VersionDef"),
    ],
    "Dim": [("size", 1, "int64")],
    "TensorShapeProto": [("dim", 2, "Dim", "repeated"), ("unknown_rank", 3, "bool")],
    "Extent": [("start", 1, "int64"), ("length", 2, "int64", "optional")],
    "TensorSliceProto": [("extent", 1, "Extent", "repeated")],
    "BundleEntryProto": [
        ("dtype", 1, "int32"),
        ("shape", 2, "TensorShapeProto"),
        ("shard_id", 3, "int32"),
        ("offset", 4, "int64"),
        ("size", 5, "int64"),
        ("crc32c", 6, "fixed32"),
        ("slices", 7, "TensorSliceProto", "repeated"),
    ],
    "SavedSliceMeta": [
        ("name", 1, "string"),
        ("shape", 2, "TensorShapeProto"),
        ("type", 3, "int32"),
        ("slice", 4, "TensorSliceProto", "repeated"),
    ],
    "SavedTensorSliceMeta": [("tensor", 1, "SavedSliceMeta", "repeated"), ("versions", 2, "VersionDef")],
    "SavedTensorSlices": [("meta", 1, "SavedTensorSliceMeta")],
    "ObjectReference": [("node_id", 1, "int32"), ("local_name", 2, "string")],
    "SerializedTensor": [
        ("name", 1, "string"),
        ("full_name", 2, "string"),
        ("checkpoint_key", 3, "string"),
    ],
    "SlotVariableReference": [
        ("original_variable_node_id", 1, "int32"),
        ("slot_name", 2, "string"),
        ("slot_variable_node_id", 3, "int32"),
    ],
    "BoolValue": [("value", 1, "bool")],
    "TrackableObject": [
        ("children", 1, "ObjectReference", "repeated"),
        ("attributes", 2, "SerializedTensor", "repeated"),
        ("slot_variables", 3, "SlotVariableReference", "repeated"),
        ("has_checkpoint_values", 5, "BoolValue"),
    ],
    "TrackableObjectGraph": [("nodes", 1, "TrackableObject", "repeated")],
    "CheckpointState": [
        ("model_checkpoint_path", 1, "string"),
        ("all_model_checkpoint_paths", 2, "string", "repeated"),
        ("all_model_checkpoint_timestamps", 3, "double", "repeated"),
        ("last_preserved_timestamp", 4, "double"),
    ],
}


@functools.cache
def message_class(name: str) -> Any:
    """Return the protobuf class of one of TensorFlow's messages."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"toolkit.{name}"))


@functools.cache
def _pool() -> Any:
    """Return a pool of the toolkit's own: TensorFlow registers the same messages in the default."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="checkpoint_toolkit.proto", package="toolkit", syntax="proto3"
    )
    for message_name, fields in _SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for field_name, number, kind, *label in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = kinds.LABEL_REPEATED if label == ["repeated"] else kinds.LABEL_OPTIONAL
            if label == ["optional"]:
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
            if kind in _SCHEMA:
                field.type = kinds.TYPE_MESSAGE
                field.type_name = f".toolkit.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
