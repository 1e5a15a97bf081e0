"""Zip archives that hold a checkpoint: NumPy's `.npz`, and Keras's `.keras`. Nothing is unpacked.

What a member holds may be stored as it is, and then it is mapped or read where it lies, or deflated, and
then it is read from its beginning. Paths of members are never used as paths.

Source: PKWARE's APPNOTE.TXT 6.3 (4.3.7, the local file header).
"""

from __future__ import annotations

import os
import shlex
import zipfile
import zlib
from typing import TYPE_CHECKING

from toolkit.errors import CheckpointError, FormatError, UnsupportedError
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import HDF5, PYTORCH, ZIP, identify
from toolkit.formats.ranges import FileRange, unpacked
from toolkit.formats.scanning import KERAS_WEIGHTS

if TYPE_CHECKING:
    from toolkit.checkpoint import Checkpoint
    from toolkit.formats.hdf5.reader import Hdf5Checkpoint

_KERAS_DOCUMENTS = ("config.json", "metadata.json")
_KERAS_PICKLED = "model.weights.npz"
_KERAS_ROOT = "__root__.npy"
"""The model's own weights among those that Keras pickles (saving_lib.py, NpzIOStore)."""
_UNPICKLE = (
    "import keras, numpy, zipfile; a = numpy.load({source}, allow_pickle=True); "
    'd = {{g + "/vars/" + k: numpy.asarray(v) for g in a for k, v in a[g].item().items()}}; '
    'numpy.savez("x.npz", **d)'
)
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1
_MAX_TEXT_BYTES = 256 << 20
"""Of a text that is read whole; the configurations of the largest published models have a few MB."""
_MAX_RATIO = 1032
"""Deflate makes at most so many bytes of one (zlib's Technical Details)."""


def open_archive(path: str) -> Checkpoint:
    """Open the checkpoint in the zip archive at `path`.

    Raises:
        FormatError: There is none; the message says what it is.
        ReadError: It cannot be read.
    """
    archive = Archive(path)
    names = archive.members
    if KERAS_WEIGHTS in names:
        from toolkit.formats.hdf5.reader import Hdf5Checkpoint
        from toolkit.formats.keras.config import of_archive

        told = of_archive(*map(archive.text_of, _KERAS_DOCUMENTS))
        return Hdf5Checkpoint(path, archive.file_of(KERAS_WEIGHTS), config=told)
    if _KERAS_PICKLED in names:
        raise _pickled(path, member=_KERAS_PICKLED)
    if any(name.endswith(".npy") for name in names):
        from toolkit.formats.npz import NpzCheckpoint

        try:
            return NpzCheckpoint(archive)
        except UnsupportedError as error:
            if _KERAS_ROOT in names:
                raise _pickled(path) from error
            raise
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        raise FormatError(PYTORCH.what, path=path, hint=PYTORCH.hint)
    raise FormatError(
        "a zip archive without a checkpoint in it", path=path, hint="list it with `unzip -l`, and unpack it"
    )


def open_keras_folder(path: str) -> Hdf5Checkpoint:
    """Open the folder at `path`, which Keras saved in place of a `.keras` archive.

    Raises:
        UnsupportedError: Its weights are pickled objects.
        FormatError: They are something else.
        ReadError: They cannot be read.
    """
    from toolkit.formats.hdf5.reader import Hdf5Checkpoint
    from toolkit.formats.keras.config import of_archive

    weights = ReadFile(os.path.join(path, KERAS_WEIGHTS))
    kind = identify(weights)
    if kind is ZIP and _KERAS_ROOT in Archive(weights.path).members:
        raise _pickled(weights.path)
    if kind is not HDF5:
        raise FormatError(kind.what, path=weights.path, hint=kind.hint)
    told = of_archive(*(_text_of(os.path.join(path, name)) for name in _KERAS_DOCUMENTS))
    content = FileRange(weights, 0, weights.size)
    return Hdf5Checkpoint(path, content, files=folder_files(path), config=told)


def _text_of(path: str) -> bytes | None:
    """Return the text of a file; `None` if it cannot be read, or is huge."""
    try:
        file = ReadFile(path)
    except CheckpointError:
        return None
    try:
        return file.read(0, file.size) if file.size <= _MAX_TEXT_BYTES else None
    except CheckpointError:
        return None
    finally:
        file.close()


def folder_files(path: str) -> list[str]:
    """Return the paths of the files in the folder of a Keras model that are read, the weights first."""
    files = [os.path.join(path, name) for name in (KERAS_WEIGHTS, *_KERAS_DOCUMENTS)]
    return [file for file in files if os.path.isfile(file)]


def _pickled(path: str, *, member: str | None = None) -> UnsupportedError:
    """Return the error that says that Keras pickled the weights at `path`, or in that `member` of it."""
    source = repr(path) if member is None else f"zipfile.ZipFile({path!r}).open({member!r})"
    return UnsupportedError(
        "Keras weights saved with weights_format='npz', which are Python pickles: they can run code when "
        "loaded and are never opened here, and Keras 3.9.2 and later cannot load them itself",
        path=path,
        hint="where you trust the file, unpickle it yourself, with the Keras that wrote it, to x.npz: "
        f"python -c {shlex.quote(_UNPICKLE.format(source=source))}",
    )


class Archive:
    """A zip archive, open for reading.

    Attributes:
        file: The archive.
        members: Its members by name; folders are left out.

    Raises:
        FormatError: It is none, or breaks a rule.
    """

    def __init__(self, path: str) -> None:
        self.file = ReadFile(path)
        try:
            self.zip = zipfile.ZipFile(FileRange(self.file, 0, self.file.size))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise FormatError(f"a zip archive that cannot be read: {error}", path=path) from error
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in self.zip.infolist():
            if not member.filename:
                raise FormatError("a member without a name", path=path)
            if member.filename in self.members:
                raise FormatError(f"{member.filename!r}: in the archive twice", path=path)
            if member.flag_bits & _ENCRYPTED:
                raise FormatError(f"{member.filename!r}: encrypted", path=path, hint="unpack it with `unzip`")
            if member.file_size > member.compress_size * _MAX_RATIO + 64:
                raise FormatError(
                    f"{member.filename!r}: size",
                    path=path,
                    expected=f"at most {member.compress_size * _MAX_RATIO + 64}",
                    found=member.file_size,
                )
            if not member.is_dir():
                self.members[member.filename] = member

    def offset_of(self, name: str) -> int | None:
        """Return where the content of a member begins in the archive; `None` if it is compressed.

        Raises:
            FormatError: Its header is damaged.
        """
        member = self.members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        header = self.file.read(member.header_offset, _LOCAL_HEADER_BYTES)
        if header[:4] != b"PK\x03\x04":
            raise FormatError(f"{name!r}: local header", path=self.file.path, offset=member.header_offset)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = member.header_offset + _LOCAL_HEADER_BYTES + lengths
        self.file.check_extent(start, member.file_size)
        return start

    def file_of(self, name: str) -> FileRange:
        """Return a member as a file that can be read anywhere; a compressed one is unpacked for that.

        Raises:
            FormatError: It is damaged.
        """
        start = self.offset_of(name)
        size = self.members[name].file_size
        if start is not None:
            return FileRange(self.file, start, size)
        try:
            with self.zip.open(name) as member:
                return unpacked(member, size, f"{self.file.path}: {name}")
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise FormatError(f"{name!r}: {error}", path=self.file.path) from error

    def text_of(self, name: str) -> bytes | None:
        """Return the text of a member; `None` if it cannot be read, or is huge."""
        member = self.members.get(name)
        if member is None or member.file_size > _MAX_TEXT_BYTES:
            return None
        try:
            return self.zip.read(name)
        except (zipfile.BadZipFile, EOFError, ValueError, OSError, NotImplementedError, zlib.error):
            return None

    def close(self) -> None:
        """Close it."""
        self.zip.close()
        self.file.close()
