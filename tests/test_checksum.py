import numpy as np

from toolkit import checksum


def test_known_values():
    # RFC 3720, B.4: CRC-32C of 32 bytes of zeros, of ones, and of 0, 1, 2 …
    assert checksum.crc32c(bytes(32)) == 0x8A9136AA
    assert checksum.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert checksum.crc32c(bytes(range(32))) == 0x46DD794E


def test_mask_is_undone_by_unmask():
    # LevelDB's util/crc32c_test.cc: masking changes the value, twice too, and comes back
    crc = checksum.crc32c(b"foo")
    assert crc not in (checksum.mask(crc), checksum.mask(checksum.mask(crc)))
    assert checksum.unmask(checksum.mask(crc)) == crc
    # by hand: rotr(0x00000001, 15) = 0x00020000, + 0xa282ead8
    assert checksum.mask(1) == 0xA284EAD8


def test_continues_over_chunks_and_takes_arrays():
    data = np.arange(100, dtype=np.uint8)
    running = checksum.Running()
    for start in range(0, 100, 7):
        running.update(data[start : start + 7])
    assert running.finish() == checksum.crc32c(data.tobytes())
