"""Vertices and triangles out of PLY and OBJ files, as they stand there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

Polygons = list[Int64[ndarray, " _"]]
Columns = Mapping[str, list | ndarray]

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
# What an OBJ file may hold besides vertices and faces; none of it changes the surface.
_OBJ_OTHERS = frozenset(
    {"vt", "vn", "vp", "p", "l", "g", "o", "s", "mg", "usemtl", "mtllib", "bevel", "lod"}
)


def read_triangles(path: Path) -> tuple[Float64[ndarray, "vertex 3"], Int64[ndarray, "face 3"]]:
    """Vertices and faces of a file by its ending; polygons become fans about their first corner."""
    readers = {".ply": _read_ply, ".obj": _read_obj}
    if path.suffix.lower() not in readers:
        raise ValueError("expected a file that ends in .ply or .obj")
    content = path.read_bytes()
    if not content.strip():
        raise ValueError("the file is empty")
    vertices, polygons = readers[path.suffix.lower()](content)
    return vertices, _fans(polygons)


def _fans(polygons: Polygons) -> Int64[ndarray, "face 3"]:
    """Triangles (first, k, k + 1) of each polygon, in order."""
    sizes = np.array([len(polygon) for polygon in polygons])
    if not len(sizes):
        raise ValueError("expected faces, got none: a cloud of points is no surface")
    if sizes.min() < 3:
        raise ValueError(
            f"expected faces of 3 corners or more, got {sizes.min()} at face {np.argmin(sizes)}"
        )
    if sizes.max() == 3:
        return np.array(polygons, np.int64)
    fans = [np.stack([np.full(len(p) - 2, p[0]), p[1:-1], p[2:]], axis=1) for p in polygons]
    return np.concatenate(fans)


def _start(content: bytes) -> str:
    """The first line, shortened, to show what a file is that is not what its name says."""
    return repr(content.lstrip()[:200].decode("latin-1").splitlines()[0][:40])


def _read_obj(content: bytes) -> tuple[Float64[ndarray, "vertex 3"], Polygons]:
    vertices: list[list[float]] = []
    polygons: Polygons = []
    lines = content.replace(b"\r\n", b"\n").replace(b"\\\n", b" ").decode("latin-1").split("\n")
    for number, line in enumerate(lines, start=1):
        keyword, *words = line.split("#")[0].split() or [""]
        try:
            if keyword == "v":
                vertices.append([float(word) for word in words[:3]])
            elif keyword == "f":
                polygons.append(_obj_corners(words, len(vertices)))
        except ValueError:
            raise ValueError(f"expected numbers in line {number}, got {line.strip()!r}") from None
        if keyword not in _OBJ_OTHERS | {"", "v", "f"}:
            raise ValueError(f"not an OBJ file: line {number} is {line.strip()[:40]!r}")
        if keyword == "v" and len(words) < 3:
            raise ValueError(f"expected three coordinates in line {number}, got {line.strip()!r}")
    if not vertices:
        raise ValueError(f"expected vertices, got none: the file starts with {_start(content)}")
    return np.array(vertices), polygons


def _obj_corners(words: list[str], known: int) -> Int64[ndarray, " corner"]:
    """Vertex numbers from 0, of corners a, a/b, a//c or a/b/c that count from 1, or back from -1.

    0, which stands for no vertex, becomes one that is out of range.
    """
    numbers = np.array([int(word.split("/")[0]) for word in words], np.int64)
    return np.where(numbers < 0, numbers + known, np.where(numbers == 0, -1, numbers - 1))


@dataclass(frozen=True, kw_only=True)
class _Property:
    """A number in each row of an element, or a list of them, `count` being the length's type."""

    name: str
    kind: str
    count: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Element:
    name: str
    rows: int
    properties: list[_Property]


def _read_ply(content: bytes) -> tuple[Float64[ndarray, "vertex 3"], Polygons]:
    order, elements, body = _ply_header(content)
    walk = _AsciiBody(body) if order == "ascii" else _BinaryBody(body, _ORDERS[order])
    tables: dict[str, Columns] = {}
    for element in elements:
        tables[element.name] = walk.table(element)
        if {"vertex", "face"} <= set(tables):
            break
    corners = tables["face"]
    lists = [name for name in ("vertex_indices", "vertex_index") if name in corners]
    if not lists:
        raise ValueError("the element face has no list vertex_indices")
    vertices = np.array([tables["vertex"][axis] for axis in "xyz"], np.float64).T
    polygons = [np.asarray(polygon).astype(np.int64) for polygon in corners[lists[0]]]
    return np.ascontiguousarray(vertices), polygons


def _ply_header(content: bytes) -> tuple[str, list[_Element], bytes]:
    """The format, the elements in order, and what follows the header."""
    if content.split(maxsplit=1)[0] != b"ply":
        raise ValueError(f"not a PLY file: it starts with {_start(content)}")
    header, found, body = content.partition(b"end_header")
    if not found:
        raise ValueError("the header has no end: the file is cut off or no PLY file")
    order, elements = "", []
    for line in header.decode("latin-1").splitlines()[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", kind, _] if kind in _ORDERS:
                order = kind
            case ["element", name, rows] if rows.isdigit():
                elements.append(_Element(name=name, rows=int(rows), properties=[]))
            case ["property", kind, name] if kind in _TYPES and elements:
                elements[-1].properties.append(_Property(name=name, kind=_TYPES[kind]))
            case ["property", "list", count, kind, name] if {count, kind} <= set(_TYPES):
                listed = _Property(name=name, kind=_TYPES[kind], count=_TYPES[count])
                elements[-1].properties.append(listed)
            case _:
                raise ValueError(f"expected a line of a PLY header, got {line.strip()[:60]!r}")
    _check_header(order, elements)
    return order, elements, body[2:] if body.startswith(b"\r\n") else body[1:]


def _check_header(order: str, elements: list[_Element]) -> None:
    if not order:
        raise ValueError(f"the header names no format: one of {', '.join(_ORDERS)}")
    known = {e.name: {p.name for p in e.properties if not p.count} for e in elements}
    if not {"vertex", "face"} <= set(known):
        raise ValueError(f"expected elements vertex and face, got {', '.join(known) or 'none'}")
    if not {"x", "y", "z"} <= known["vertex"]:
        raise ValueError("expected vertices with numbers x, y and z")


def _cut_off(element: _Element, row: int) -> ValueError:
    return ValueError(
        f"the file ends early: {element.name} {row} of {element.rows} is not there or not whole"
    )


class _BinaryBody:
    """Rows of elements out of bytes, one element after the other."""

    def __init__(self, body: bytes, order: str) -> None:
        self._body, self._order, self._place = body, order, 0

    def table(self, element: _Element) -> Columns:
        """The columns of the next element, by property."""
        rows = self._alike(element)
        if rows is None:
            found = [self._row(element, row) for row in range(element.rows)]
            return {p.name: [row[k] for row in found] for k, p in enumerate(element.properties)}
        return {p.name: rows[p.name] for p in element.properties}

    def _alike(self, element: _Element) -> ndarray | None:
        """All rows at once, if their lists are as long as those of the first row."""
        if not element.rows:
            return None
        start = self._place
        first = self._row(element, 0)
        self._place = start
        fields: list[tuple] = []
        for p, value in zip(element.properties, first, strict=True):
            if p.count:
                fields.append((f"length of {p.name}", self._order + p.count))
            fields.append((p.name, self._order + p.kind, np.shape(value)))
        kind = np.dtype(fields)
        if len(self._body) - start < kind.itemsize * element.rows:
            return None
        rows = np.frombuffer(self._body, kind, element.rows, start)
        for p, value in zip(element.properties, first, strict=True):
            if p.count and (rows[f"length of {p.name}"] != len(value)).any():
                return None
        self._place = start + kind.itemsize * element.rows
        return rows

    def _row(self, element: _Element, row: int) -> list:
        values = []
        for p in element.properties:
            length = int(self._take(p.count, 1, element, row)[0]) if p.count else 1
            numbers = self._take(p.kind, length, element, row)
            values.append(numbers if p.count else numbers[0])
        return values

    def _take(self, kind: str, length: int, element: _Element, row: int) -> ndarray:
        size = np.dtype(kind).itemsize * length
        if length < 0 or self._place + size > len(self._body):
            raise _cut_off(element, row)
        numbers = np.frombuffer(self._body, self._order + kind, length, self._place)
        self._place += size
        return numbers


class _AsciiBody:
    """Rows of elements out of numbers in text."""

    def __init__(self, body: bytes) -> None:
        words = body.split()
        try:
            self._numbers = np.array(words, "S").astype(np.float64) if words else np.zeros(0)
        except ValueError as fault:
            raise ValueError(f"expected numbers after the header: {fault}") from None
        self._place = 0

    def table(self, element: _Element) -> Columns:
        """The columns of the next element, by property."""
        columns: dict[str, list] = {p.name: [] for p in element.properties}
        for row in range(element.rows):
            for p in element.properties:
                length = int(self._take(1, element, row)[0]) if p.count else 1
                numbers = self._take(length, element, row)
                columns[p.name].append(numbers if p.count else numbers[0])
        return columns

    def _take(self, length: int, element: _Element, row: int) -> ndarray:
        if length < 0 or self._place + length > len(self._numbers):
            raise _cut_off(element, row)
        self._place += length
        return self._numbers[self._place - length : self._place]
