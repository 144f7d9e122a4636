"""Holes and folds of scanned surfaces, on spheres that were cut open and on real files."""

import numpy as np
import pytest

from meshes.icosphere import icosphere
from meshes.mending import read_mended_surface, without_folds, without_holes
from meshes.surfaces import closed_surface, read_surface

V, F = icosphere(2).vertices, icosphere(2).faces


def sorted_rows(faces):
    """Faces by their vertices, each from its smallest on: the same set compares equal."""
    turned = np.array([np.roll(face, -np.argmin(face)) for face in faces])
    return turned[np.lexsort(turned.T)]


def test_closed_surfaces_stay_as_they_are():
    np.testing.assert_array_equal(without_holes(V, without_folds(F)), F)


def test_a_face_taken_out_is_put_back():
    filled = without_holes(V, np.delete(F, [5, 200], axis=0))
    np.testing.assert_array_equal(sorted_rows(filled), sorted_rows(F))


def test_a_flat_hole_is_filled_with_its_own_area():
    """The square ends of a prism, open, are holes of four edges."""
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    vertices = np.concatenate([np.pad(square, ((0, 0), (0, 1))), np.pad(square, ((0, 0), (0, 1)))])
    vertices[4:, 2] = 3
    k = np.arange(4)
    low, high = k, (k + 1) % 4
    sides = np.concatenate(
        [np.stack([low, high, high + 4], axis=1), np.stack([low, high + 4, low + 4], axis=1)]
    )
    mesh = closed_surface(vertices, without_holes(vertices, sides))
    assert len(mesh.faces) == 12
    # A cube's ratio of area to the power 3/2 to volume, for sides 1, 1, 3
    volume = np.linalg.det(mesh.vertices[mesh.faces]).sum() / 6
    assert volume == pytest.approx(3 * (4 * np.pi / 14) ** 1.5, rel=1e-12)


def test_holes_about_a_vertex_are_filled_without_it():
    around = (F == 40).any(axis=1)
    filled = without_holes(V, F[~around])
    mesh = closed_surface(V, filled)
    assert len(mesh.vertices) == len(V) - 1
    assert len(mesh.vertices) - len(mesh.edges) + len(mesh.faces) == 2


def test_chords_that_are_edges_already_are_not_drawn():
    """A hole over a tent whose ridge is the diagonal that would take less area."""
    rim = np.array([[0.0, 0, 0], [1, -2, 0.6], [2, 0, 0], [1, 2, 0.6]])
    vertices = np.concatenate([rim, [[1, -1, -1], [1, 1, -1]]])
    faces = np.array([[1, 0, 4], [2, 1, 4], [3, 2, 5], [0, 3, 5], [0, 2, 4], [2, 0, 5]])
    filling = without_holes(vertices, faces)[6:]
    assert sorted_rows(filling).tolist() == [[0, 1, 3], [1, 2, 3]]


def test_folded_faces_go_and_leave_a_surface():
    fold = np.array([[0, int(F[F[:, 0] == 0][0, 1]), len(V)]])
    vertices = np.concatenate([V, [[0.0, 0, 2]]])
    faces = np.concatenate([F, fold, fold[:, ::-1]])
    with pytest.raises(ValueError, match="three faces or more"):
        closed_surface(vertices, faces)
    np.testing.assert_array_equal(without_folds(faces), F)


def test_open_surfaces_and_holes_that_meet_are_refused():
    low = 2 * np.arange(39)
    faces = np.stack([low, low + 2, low + 1, low + 1, low + 2, low + 3], axis=1).reshape(-1, 3)
    strip = np.stack([np.arange(80) // 2, np.arange(80) % 2, np.zeros(80)], axis=1)
    with pytest.raises(ValueError, match=r"not closed: a hole of 80 edges at vertex \d+"):
        without_holes(strip, faces)
    touching = np.flatnonzero((F == 40).any(axis=1))
    with pytest.raises(ValueError, match="two holes meet at a vertex"):
        without_holes(V, np.delete(F, [touching[0], _across_vertex(touching)], axis=0))


def test_flipped_faces_are_refused_at_holes_and_elsewhere(tmp_path):
    flipped = F.copy()
    flipped[7] = flipped[7, ::-1]
    np.testing.assert_array_equal(without_holes(V, flipped), flipped)
    with pytest.raises(ValueError, match="flipped faces: along 3 edges"):
        closed_surface(V, without_holes(V, flipped))
    beside = next(f for f in range(8, 320) if len(set(F[7]) & set(F[f])) == 2)
    with pytest.raises(ValueError, match="flipped"):
        without_holes(V, np.delete(flipped, beside, axis=0))


def _across_vertex(touching):
    """A face about the same vertex that shares no edge with the first."""
    return next(f for f in touching if len(set(F[f]) & set(F[touching[0]])) == 1)


@pytest.mark.parametrize(
    ("name", "vertices", "faces"), [("stanford-bunny", 3020, 6036), ("homer", 3001, 5998)]
)
def test_real_surfaces_with_small_faults_are_mended(shared_data, name, vertices, faces):
    mesh = read_mended_surface(shared_data / "meshes" / f"{name}.ply")
    assert (len(mesh.vertices), len(mesh.faces)) == (vertices, faces)
    assert vertices - len(mesh.edges) + faces == 2


def test_sound_real_surfaces_come_back_unchanged(shared_data):
    path = shared_data / "meshes" / "spot.ply"
    assert read_mended_surface(path).fingerprint == read_surface(path).fingerprint


def test_what_mending_cannot_help_is_refused_by_name(tmp_path):
    (tmp_path / "a.ply").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"a\.ply: not a PLY file"):
        read_mended_surface(tmp_path / "a.ply")
