"""The table of fluxes makes skew matrices whose streams let nothing pile up."""

import numpy as np
import pytest
import torch

from forecast.model.fluxes import flux_table
from forecast.model.transport import stream_entries
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import mass


def dense(mesh, stream):
    """K of one stream function, (vertex, vertex)."""
    fluxes = flux_table(mesh)
    entries = stream_entries(stream[:, None, None], fluxes)[:, 0, 0]
    matrix = torch.zeros(len(entries), len(entries), dtype=torch.float64)
    return matrix.scatter_add(1, fluxes.neighbours.long(), entries).numpy()


@pytest.fixture
def stream(generator):
    return torch.randn(162, dtype=torch.float64, generator=generator)


def test_the_matrix_is_skew_to_the_last_bit(stream):
    matrix = dense(icosphere(2), stream)
    assert np.array_equal(matrix, -matrix.T)


def test_entries_are_fluxes_between_faces(stream):
    # K_ij = (psi of the face left of i -> j - right) / (2 sqrt(m_i m_j)), psi of a face its mean
    mesh = icosphere(2)
    on_faces = stream.numpy()[mesh.faces].mean(1)
    expected = np.zeros((162, 162))
    for face, value in zip(mesh.faces, on_faces, strict=True):
        for tail, head in zip(face, np.roll(face, -1), strict=True):
            expected[tail, head] += value / 2
            expected[head, tail] -= value / 2
    root = np.sqrt(mass(mesh))
    ratio = (expected / np.outer(root, root))[expected != 0] / dense(mesh, stream)[expected != 0]
    # one number for all: how much faces lean against the sphere, of order 2 in an edge of 0.3
    assert ratio == pytest.approx(np.full(ratio.shape, ratio[0]), rel=1e-9)
    assert 0.97 < ratio[0] < 1
    other = TriangleMesh(vertices=mesh.vertices, faces=mesh.faces)  # of which no sphere is known
    assert dense(other, stream) == pytest.approx(expected / np.outer(root, root), abs=1e-12)


def test_constants_stay_where_they_are(stream):
    mesh = icosphere(2)
    assert dense(mesh, stream) @ np.sqrt(mass(mesh)) == pytest.approx(np.zeros(162), abs=1e-12)


def test_a_linear_stream_function_turns_the_sphere(generator):
    # d/dt of the centroid of any field is that of the rotation by 1 rad eastward
    mesh = icosphere(3)
    position = mesh.vertices
    root = np.sqrt(mass(mesh))
    matrix = dense(mesh, -torch.from_numpy(position[:, 2].copy()))
    moved = -(matrix @ (root[:, None] * position)) / root[:, None]  # K is skew
    exact = np.stack([-position[:, 1], position[:, 0], 0 * position[:, 0]], axis=1)
    error = np.sqrt(mass(mesh) @ (moved - exact) ** 2 / (4 * np.pi))
    assert error.max() < 0.01


def test_entries_have_the_right_adjoint(stream, generator):
    fluxes = flux_table(icosphere(2))
    psi = torch.randn(162, 2, 3, dtype=torch.float64, generator=generator).requires_grad_()
    g = torch.randn(162, 2, 3, 6, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad(stream_entries(psi, fluxes), psi, g)
    direction = torch.randn(psi.shape, dtype=torch.float64, generator=generator)
    along = (stream_entries(direction, fluxes) * g).sum()  # linear
    torch.testing.assert_close((gradient * direction).sum(), along)


def test_an_open_mesh_is_refused():
    closed = icosphere(1)
    open_mesh = TriangleMesh(vertices=closed.vertices, faces=closed.faces[1:])
    with pytest.raises(
        ValueError, match="needs a closed mesh, got 3 edges with a face on one side"
    ):
        flux_table(open_mesh)
