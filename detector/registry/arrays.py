"""arrays.npz: named arrays as bytes and back. Numbers and strings, stored as they are; never objects, and nothing is unpickled."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError

Arrays = dict[str, NDArray[Any]]

MAX_ARRAYS = 4096
NAME = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
KINDS = "biufSU"
"""Booleans, integers, floats, strings: what an array may hold. Never objects."""
HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<|][biufSU]\d{1,9})', 'fortran_order': False, 'shape': \((?P<shape>(\d{1,18}(, \d{1,18}){0,7},?)?)\), \} *\n"
)
"""Of an array: its type, and its shape. Little-endian, or of bytes whose order does not matter."""


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """arrays.npz as bytes: sorted names, little-endian, C order, stored, no time, so that the same arrays are the same bytes."""
    parts = {}
    for name, given in arrays.items():
        array = np.asarray(given, order="C")
        assert NAME.fullmatch(name) and array.dtype.kind in KINDS, (name, array.dtype)
        part = io.BytesIO()
        np.lib.format.write_array(part, array.astype(array.dtype.newbyteorder("<"), copy=False), version=(1, 0), allow_pickle=False)
        parts[name + ".npy"] = part.getvalue()
    return zipped({name: parts[name] for name in sorted(parts)})


def zipped(parts: Mapping[str, bytes]) -> bytes:
    """A ZIP file of parts, stored as they are, in the order given and without a time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()


def unpack(packed: bytes) -> Arrays:
    """What `pack` packed. Raises ModelError."""
    parts = unzipped(packed, MAX_ARRAYS)
    names = [name.removesuffix(".npy") for name in parts]
    if len(set(names)) != len(names) or not all(map(NAME.fullmatch, names)):
        raise ModelError("has names that no model has")
    try:
        return {name: _array(name, data) for name, data in zip(names, parts.values(), strict=True)}
    except _DAMAGE as error:
        raise ModelError(f"is damaged ({error})") from error


def unzipped(packed: bytes, most: int) -> dict[str, bytes]:
    """What `zipped` zipped. The directory is read first; nothing is allocated that the bytes given do not fill. Raises ModelError."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = archive.infolist()
            if len(entries) > most or len({entry.filename for entry in entries}) != len(entries):
                raise ModelError("has names, or a number of names, that no model has")
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > len(packed):
                raise ModelError("is compressed; a model's parts are stored as they are")
            return {entry.filename: archive.read(entry) for entry in entries}
    except _DAMAGE as error:
        raise ModelError(f"is damaged ({error})") from error


_DAMAGE = (
    zipfile.BadZipFile, ValueError, EOFError, RuntimeError, OSError, SyntaxError, OverflowError, TypeError, KeyError, RecursionError,
    MemoryError, AttributeError, IndexError,
)  # fmt: skip
"""What zipfile and numpy's reader of headers raise for bytes that somebody made up."""


def _array(name: str, data: bytes) -> NDArray[Any]:
    """An array as numpy writes it. numpy reads a header as Python source; this reads what `pack` writes, and nothing else."""
    length = int.from_bytes(data[8:10], "little")
    header = HEADER.fullmatch(data[10 : 10 + length])
    if data[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise ModelError(f"{name} is no array of numbers or strings as this program writes them")
    dtype, body = np.dtype(header["dtype"].decode()), len(data) - 10 - length
    shape = tuple(map(int, re.findall(rb"\d+", header["shape"])))
    if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != body:
        raise ModelError(f"{name} says shape {shape} of {dtype}, but holds {body} bytes")
    return np.frombuffer(data, dtype, math.prod(shape), 10 + length).reshape(shape).copy()
