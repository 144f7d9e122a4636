"""PLY and OBJ in every spelling give one surface; what is no such file is named."""

import numpy as np
import pytest
import trimesh

from meshes.icosphere import icosphere
from meshes.surface_files import read_triangles

MESH = icosphere(1)
HEADER = """ply
format {format} 1.0
comment made by hand
obj_info nothing
element material 1
property uchar red
property list uchar short codes
element vertex 42
property uchar quality
property {real} x
property {real} y
property {real} z
property float confidence
element face 80
property list uchar {index} {name}
property ushort patch
element edge 1
property int vertex1
end_header
"""


def header(kind, real="double", index="int", name="vertex_indices"):
    return HEADER.format(format=kind, real=real, index=index, name=name).encode()


def ascii_ply():
    vertices = "".join(f"7 {x!r} {y!r} {z!r} 0.5\n" for x, y, z in MESH.vertices.tolist())
    faces = "".join(f"3 {i} {j} {k} 9\n" for i, j, k in MESH.faces)
    return header("ascii") + f"255 2 4 5\n{vertices}{faces}3\n".encode()


def binary_ply(order, real="f8", index="i4"):
    names = {"f4": "float", "f8": "float64", "i4": "int32", "u4": "uint"}
    kind = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    fields = [("q", "u1"), ("x", order + real, 3), ("c", order + "f4")]
    vertices = np.zeros(42, fields)
    vertices["x"] = MESH.vertices
    faces = np.zeros(80, [("n", "u1"), ("v", order + index, 3), ("p", order + "u2")])
    faces["n"], faces["v"] = 3, MESH.faces
    body = b"\x07\x02" + np.array([4, 5], order + "i2").tobytes()
    body += vertices.tobytes() + faces.tobytes() + np.array([3], order + "i4").tobytes()
    return header(kind, names[real], names[index], "vertex_index") + body


def with_windows_header(content):
    top, end, body = content.partition(b"end_header\n")
    return (top + end).replace(b"\n", b"\r\n") + body


def obj(corner="{}", first=1):
    vertices = "".join(f"v {x!r} {y!r} {z!r} 0.1 0.2 0.3\n" for x, y, z in MESH.vertices.tolist())
    faces = (" ".join(corner.format(i + first) for i in face) for face in MESH.faces)
    lines = "".join(f"f {face} # a face\n" for face in faces)
    return f"# made by hand\no sphere\nusemtl grey\n{vertices}vn 0 0 1\ns off\n{lines}".encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ply", ascii_ply()),
        ("a.ply", ascii_ply().replace(b"\n", b"\r\n")),
        ("b.PLY", binary_ply("<")),
        ("b.ply", with_windows_header(binary_ply("<"))),
        ("c.ply", binary_ply(">", index="u4")),
        ("d.obj", obj()),
        ("d.obj", obj().replace(b"\n", b"\r\n")),
        ("e.obj", obj("{0}/{0}/1")),
        ("f.obj", obj("{0}//1")),
        ("g.OBJ", obj(first=-42)),
    ],
)
def test_every_spelling_gives_the_same_vertices_and_faces(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    vertices, faces = read_triangles(tmp_path / name)
    np.testing.assert_array_equal(vertices, MESH.vertices)
    np.testing.assert_array_equal(faces, MESH.faces)


def test_single_precision_is_kept_as_it_stands(tmp_path):
    (tmp_path / "a.ply").write_bytes(binary_ply("<", real="f4"))
    vertices, _ = read_triangles(tmp_path / "a.ply")
    np.testing.assert_array_equal(vertices, MESH.vertices.astype(np.float32))


@pytest.mark.parametrize(
    ("ending", "options"), [("ply", {"encoding": "ascii"}), ("ply", {}), ("obj", {})]
)
def test_files_of_another_program_are_read(tmp_path, ending, options):
    path = tmp_path / f"a.{ending}"
    trimesh.Trimesh(MESH.vertices, MESH.faces, process=False).export(path, **options)
    vertices, faces = read_triangles(path)
    np.testing.assert_allclose(vertices, MESH.vertices, atol=1e-7)  # it writes 8 digits
    np.testing.assert_array_equal(faces, MESH.faces)


@pytest.mark.parametrize("kind", ["ascii", "binary"])
def test_polygons_become_fans_also_where_they_differ_in_size(tmp_path, kind):
    """A cube with one face as two triangles."""
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T
    polygons = [
        [0, 1, 3, 2],
        [4, 6, 7, 5],
        [0, 4, 5, 1],
        [2, 3, 7, 6],
        [0, 2, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
    order = "ascii" if kind == "ascii" else "binary_little_endian"
    top = f"ply\nformat {order} 1.0\nelement vertex 8\nproperty float x\nproperty float y\n"
    top += "property float z\nelement face 7\nproperty list uchar int vertex_indices\nend_header\n"
    if kind == "ascii":
        rows = [" ".join(map(str, corner)) for corner in corners]
        rows += [" ".join(map(str, [len(p), *p])) for p in polygons]
        body = "\n".join(rows).encode()
    else:
        body = corners.astype("<f4").tobytes()
        body += b"".join(bytes([len(p)]) + np.array(p, "<i4").tobytes() for p in polygons)
    (tmp_path / "a.ply").write_bytes(top.encode() + body)
    vertices, faces = read_triangles(tmp_path / "a.ply")
    np.testing.assert_array_equal(vertices, corners)
    assert faces.tolist()[:2] == [[0, 1, 3], [0, 3, 2]]
    assert len(faces) == 12
    volume = np.linalg.det(vertices[faces]).sum() / 6
    assert volume == pytest.approx(1, rel=1e-14)


PAGE = b"<!DOCTYPE html>\n<html><body>404</body></html>\n"
BARE = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.stl", b"solid", r"ends in \.ply or \.obj"),
        ("a.ply", b" \n", "the file is empty"),
        ("a.obj", b"", "the file is empty"),
        ("a.ply", PAGE, "not a PLY file: it starts with '<!DOCTYPE html>'"),
        ("a.obj", PAGE, "not an OBJ file: line 1 is '<!DOCTYPE html>'"),
        ("a.ply", ascii_ply()[:120], "the header has no end: the file is cut off"),
        ("a.ply", ascii_ply()[:-20], "the file ends early: face 78 of 80 is not there"),
        ("a.ply", binary_ply("<")[:-20], "the file ends early: face 78 of 80 is not there"),
        ("a.ply", binary_ply("<")[:500], "the file ends early: vertex 3 of 42 is not there"),
        ("a.ply", header("ascii") + PAGE, "expected numbers after the header: .*DOCTYPE"),
        ("a.ply", header("weird"), "expected a line of a PLY header, got 'format weird 1.0'"),
        ("a.ply", b"ply\nelement vertex 0\nend_header\n", "the header names no format"),
        ("a.ply", BARE + b"end_header\n0 0\n", "expected elements vertex and face, got vertex"),
        ("a.ply", BARE + b"element face 0\nend_header\n0 0\n", "vertices with numbers x, y and z"),
        (
            "a.ply",
            header("ascii", name="corners") + ascii_ply()[len(header("ascii")) :],
            "the element face has no list vertex_indices",
        ),
        (
            "a.ply",
            BARE + b"property float z\nelement face 0\n"
            b"property list uchar int vertex_index\nend_header\n0 0 0\n",
            "expected faces, got none",
        ),
        ("a.obj", b"# nothing\n", "expected vertices, got none: the file starts with '# nothing'"),
        ("a.obj", b"v 0 0 0\n", "expected faces, got none: a cloud of points"),
        ("a.obj", b"v 0 0\n", "expected three coordinates in line 1, got 'v 0 0'"),
        ("a.obj", b"v 0 0 x\n", "expected numbers in line 1, got 'v 0 0 x'"),
        ("a.obj", b"v 0 0 0\nf 1/a b 1\n", "expected numbers in line 2"),
        ("a.obj", b"v 0 0 0\nv 0 0 1\nf 1 2\n", "faces of 3 corners or more, got 2 at face 0"),
    ],
)
def test_what_is_no_mesh_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as fault:
        read_triangles(tmp_path / name)
    assert "\n" not in str(fault.value)
