import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import checksum, dtypes
from toolkit.checkpoint import TensorSpec
from toolkit.formats.bundle import messages
from toolkit.formats.bundle.messages import (
    Entry,
    EntryDecoder,
    Header,
    SlicedSpec,
    decode_entry,
    decode_header,
    encode_entry,
    encode_header,
)
from toolkit.formats.bundle.schema import MessageError, message_class
from toolkit.formats.bundle.slices import TensorSlice

F32 = dtypes.BY_NAME["float32"]
INT64 = st.integers(0, 2**63 - 1)


@st.composite
def entries(draw):
    dtype = draw(st.sampled_from(list(dtypes.BY_NAME.values())))
    shape = tuple(draw(st.lists(st.integers(0, 2000), max_size=5)))
    count = 1
    for size in shape:
        count *= size
    nbytes = count * dtype.itemsize if dtype.itemsize else draw(st.integers(0, 2**40))
    crc = draw(st.integers(0, 2**32 - 1))
    return Entry(dtype, shape, nbytes, draw(st.integers(0, 2**31 - 1)), draw(INT64), crc)


def by_protobuf(entry: Entry) -> bytes:
    message = message_class("BundleEntryProto")()
    message.dtype = entry.dtype.number
    message.shape.SetInParent()
    for size in entry.shape:
        message.shape.dim.add().size = size
    message.shard_id, message.offset, message.size = entry.shard, entry.offset, entry.nbytes
    message.crc32c = checksum.mask(entry.crc32c)
    return message.SerializeToString(deterministic=True)


@given(entries())
def test_entries_are_encoded_as_protobuf_does(entry):
    assert encode_entry(entry) == by_protobuf(entry)


@given(entries())
def test_entries_are_decoded_by_hand_as_protobuf_does(entry):
    encoded = encode_entry(entry)
    assert decode_entry(encoded) == entry == messages._decode_any(encoded)
    decoder = EntryDecoder()
    for _ in range(2):  # the second time, its beginning is known
        for spec in (decoder.describe(encoded), *decoder.describe_all([encoded, encoded])):
            assert type(spec) is TensorSpec
            assert (spec.dtype, spec.shape, spec.nbytes) == (entry.dtype, entry.shape, entry.nbytes)


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_alike_or_refused(data):
    try:
        expected = messages._decode_any(data)
    except MessageError:
        with pytest.raises(MessageError):
            decode_entry(data)
    else:
        assert decode_entry(data) == expected


@given(entries(), st.data())
def test_a_changed_byte_is_decoded_as_protobuf_does_or_refused(entry, data):
    encoded = bytearray(encode_entry(entry))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    test_any_bytes_are_decoded_alike_or_refused.hypothesis.inner_test(bytes(encoded))


def test_fields_in_another_order_and_unknown_ones_are_taken():
    encoded = b"\x28\x04" + b"\x12\x00" + b"\x08\x01" + b"\x78\x05"
    assert decode_entry(encoded)[:4] == (F32, (), 4, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": 0, "size": 4}, "dtype: expected one of TensorFlow's, got number 0"),
        ({"dtype": 127, "size": 4}, "dtype: expected one of TensorFlow's, got number 127"),
        ({"dtype": 101, "size": 4}, "dtype: expected one of TensorFlow's, got number 101"),
        ({"dtype": 1, "size": 3}, "size: expected 4 bytes for float32 (), got 3"),
        ({"dtype": 1, "dims": [2, -1], "size": 4}, "shape: expected sizes of 0 or more, got (2, -1)"),
        (
            {"dtype": 1, "dims": [2**62, 4], "size": 4},
            "shape: expected less than 2**63 bytes, got (4611686018427387904, 4) of float32",
        ),
        ({"dtype": 1, "dims": [1] * 255, "size": 4}, "shape: expected at most 254 dimensions, got 255"),
        ({"dtype": 1, "unknown_rank": True, "size": 4}, "shape: expected known dimensions, got an unknown rank"),
        (
            {"dtype": 1, "size": 4, "offset": -1},
            "expected shard, offset and size of 0 or more, got 0, -1 and 4",
        ),
        (
            {"dtype": 7, "size": -4, "shard_id": 3},
            "expected shard, offset and size of 0 or more, got 3, 0 and -4",
        ),
    ],
)  # fmt: skip
def test_reject_entries_that_cannot_be(fields, message):
    entry = message_class("BundleEntryProto")()
    for size in fields.pop("dims", []):
        entry.shape.dim.add().size = size
    entry.shape.unknown_rank = fields.pop("unknown_rank", False)
    for field, value in fields.items():
        setattr(entry, field, value)
    with pytest.raises(MessageError) as refused:
        decode_entry(entry.SerializeToString())
    assert str(refused.value) == message


def test_a_partitioned_variable_is_told():
    entry = message_class("BundleEntryProto")()
    entry.dtype = 1
    entry.shape.dim.add().size = 6
    extent = entry.slices.add().extent.add()
    extent.start, extent.length = 3, 3
    assert decode_entry(entry.SerializeToString()).slices == (TensorSlice((3,), (3,)),)
    for spec in EntryDecoder().describe_all([entry.SerializeToString()] * 2):
        assert type(spec) is SlicedSpec
        assert (spec.dtype, spec.shape, spec.nbytes) == (F32, (6,), 24)


@given(st.integers(1, 2**31 - 1))
def test_headers_are_decoded_by_hand_as_protobuf_does(num_shards):
    message = message_class("BundleHeaderProto")()
    message.num_shards = num_shards
    message.version.producer = 1
    encoded = message.SerializeToString(deterministic=True)
    assert encode_header(num_shards) == encoded
    assert decode_header(encoded) == Header(num_shards, big_endian=False, min_consumer=0)


def test_headers_that_are_not_ours_go_to_protobuf():
    message = message_class("BundleHeaderProto")()
    message.num_shards, message.endianness = 3, 1
    message.version.producer, message.version.min_consumer = 5, 2
    assert decode_header(message.SerializeToString()) == Header(3, big_endian=True, min_consumer=2)


@pytest.mark.parametrize("num_shards", [0, -1])
def test_reject_headers_without_data_files(num_shards):
    message = message_class("BundleHeaderProto")()
    message.num_shards = num_shards
    message.version.producer = 1
    with pytest.raises(MessageError, match=f"number of data files: expected 1 or more, got {num_shards}"):
        decode_header(message.SerializeToString())


@pytest.mark.parametrize("data", [b"\x08", b"\x08\x80", b"\x0a\xff\x01", b"\xff" * 9])
def test_reject_headers_that_are_no_messages(data):
    with pytest.raises(MessageError, match="not a BundleHeaderProto"):
        decode_header(data)
