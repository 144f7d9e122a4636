"""The edges of a mesh both ways, their geometry in every gauge, and parallel transport."""

import numpy as np
import pytest
import torch

from forecast.conventions import DataError
from forecast.model.graph import graph_in, graph_of, parallel_transport, tangent_frames
from meshes.finite_volume import healpix, latitude_longitude
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import laplacian


def bumpy(refinement=2, seed=0):
    """An icosphere pushed in and out: no two lengths or angles alike."""
    sphere = icosphere(refinement)
    factors = 1 + 0.1 * np.random.default_rng(seed).standard_normal(len(sphere.vertices))
    return TriangleMesh(vertices=sphere.vertices * factors[:, None], faces=sphere.faces)


MESHES = [
    pytest.param(icosphere(2), id="icosphere"),
    pytest.param(bumpy(), id="bumpy"),
    pytest.param(healpix(4), id="healpix"),
    pytest.param(latitude_longitude(9, 16), id="latitude-longitude"),
]


def turn(angles):
    """The components of a turned vector: (sample, 2, 2) matrices, counterclockwise."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def same_angles(found, expected):
    difference = np.angle(np.exp(1j * (np.asarray(found) - np.asarray(expected))))
    assert difference == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("which", ["", "long_"])
def test_edges_go_both_ways_once_in_order_of_receivers(mesh, which):
    senders, receivers = getattr(graph_of(mesh), f"{which}edges").tolist()
    pairs = list(zip(receivers, senders, strict=True))
    assert pairs == sorted(set(pairs))
    assert set(pairs) == set(zip(senders, receivers, strict=True))
    assert all(sender != receiver for sender, receiver in pairs)


@pytest.mark.parametrize("mesh", MESHES)
def test_the_neighbours_are_those_of_the_mesh(mesh):
    senders, receivers = graph_of(mesh).edges.numpy()
    once = np.stack([senders, receivers], axis=1)[senders < receivers]
    assert np.array_equal(once[np.lexsort((once[:, 1], once[:, 0]))], mesh.edges)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("which", ["", "long_"])
def test_offsets_lead_from_the_receiver_to_the_sender(mesh, which):
    graph = graph_of(mesh)
    senders, receivers = getattr(graph, f"{which}edges")
    positions = torch.from_numpy(mesh.vertices.copy())
    there = torch.einsum("erc,er->ec", graph.frames[receivers], getattr(graph, f"{which}offsets"))
    found = positions[receivers] + graph.unit * there
    torch.testing.assert_close(found, positions[senders], rtol=0, atol=1e-13)


def test_shapes_tell_the_length_in_radii():
    mesh = bumpy()
    graph = graph_of(mesh)
    between = np.diff(mesh.vertices[graph.edges.numpy()], axis=0)[0]
    assert graph.shapes[:, 3].numpy() == pytest.approx(np.log2(np.linalg.norm(between, axis=1)))


def test_mean_edge_length_is_the_unit():
    assert float(graph_of(bumpy()).lengths.mean()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("mesh", MESHES)
def test_weights_are_those_of_the_laplacian(mesh):
    graph = graph_of(mesh)
    senders, receivers = graph.edges
    off_diagonal = laplacian(mesh).toarray()[receivers, senders]
    assert graph.weights.numpy() == pytest.approx(-off_diagonal, abs=1e-14)


@pytest.mark.parametrize("mesh", MESHES)
def test_frames_are_right_handed_and_end_with_the_normal(mesh):
    frames = tangent_frames(mesh.normals)
    assert frames @ frames.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), frames.shape), abs=1e-14
    )
    assert np.linalg.det(frames) == pytest.approx(1)
    assert frames[:, 2] == pytest.approx(mesh.normals)


def test_on_the_sphere_the_tangents_are_east_and_north():
    east, north, up = tangent_frames(np.array([[0.6, 0, 0.8], [0, -1, 0], [0, 0, 1]])).swapaxes(
        0, 1
    )
    assert east == pytest.approx(np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]]))
    assert north == pytest.approx(np.array([[-0.8, 0, 0.6], [0, 0, 1], [-1, 0, 0]]))
    assert up == pytest.approx(np.array([[0.6, 0, 0.8], [0, -1, 0], [0, 0, 1]]))


def test_angles_are_bearings_of_great_circles():
    graph = graph_of(icosphere(2))
    positions = torch.from_numpy(icosphere(2).vertices.copy())
    there = torch.linalg.cross(*positions[graph.edges.flip(0)])  # axis of the great circle
    heading = torch.linalg.cross(there, positions[graph.edges[1]])
    east, north, _ = torch.einsum("erc,ec->re", graph.frames[graph.edges[1]], heading)
    same_angles(graph.angles, torch.atan2(north, east))


def test_transport_turns_a_great_circle_into_itself():
    # seen from the receiver the sender lies behind the direction in which it looks at the receiver
    graph = graph_of(icosphere(2))
    backwards = graph.angles[graph.neighbourhood.leaving]
    same_angles(graph.transport, graph.angles + np.pi - backwards)


@pytest.mark.parametrize("mesh", MESHES)
def test_transport_back_undoes_transport(mesh):
    graph = graph_of(mesh)
    same_angles(graph.transport, -graph.transport[graph.neighbourhood.leaving])


def test_transport_around_the_faces_adds_up_to_the_spheres_curvature():
    mesh = icosphere(2)
    graph = graph_of(mesh)
    pairs = map(tuple, graph.edges.T.tolist())
    by_edge = dict(zip(pairs, graph.transport.tolist(), strict=True))
    around = [by_edge[a, b] + by_edge[b, c] + by_edge[c, a] for a, b, c in mesh.faces.tolist()]
    excess = np.angle(np.exp(1j * np.array(around)))
    assert np.abs(excess).sum() == pytest.approx(4 * np.pi, abs=1e-9)
    assert (np.sign(excess) == np.sign(excess[0])).all()


@pytest.mark.parametrize("mesh", MESHES)
def test_a_turned_frame_turns_angles_and_transport_with_it(mesh):
    vertex, by = 11, 0.7
    before = graph_of(mesh)
    frames = before.frames.numpy().copy()
    # A frame turned by an angle sees every vector turned by minus that angle.
    frames[vertex, :2] = turn(-by) @ frames[vertex, :2]
    after = graph_in(mesh, frames)
    senders, receivers = before.edges.numpy()
    arriving, leaving = by * (receivers == vertex), by * (senders == vertex)
    same_angles(after.angles, before.angles.numpy() - arriving)
    same_angles(after.transport, before.transport.numpy() - arriving + leaving)


def test_transport_carries_tangent_vectors():
    # Along the equator east stays east and north north; from the pole along a meridian the frame
    # of longitude 0 turns by the longitude.
    normals = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1], [0, 0.6, 0.8]])
    edges = np.array([[0, 1, 2], [1, 0, 3]])
    found = parallel_transport(tangent_frames(normals), edges)
    vector = np.array([0.0, 1.0, 0.0])  # at the pole east of longitude 0, north of longitude 90
    at_pole, at_meridian = tangent_frames(normals)[2:, :2]
    turned = turn(found[2]) @ (at_pole @ vector)
    assert found[:2] == pytest.approx(0, abs=1e-15)
    assert turned == pytest.approx(at_meridian @ np.array([0, 0.8, -0.6]), abs=1e-15)


def test_neighbours_with_opposite_normals_are_refused():
    frames = tangent_frames(np.array([[0.0, 0, 1], [0, 0, -1]]))
    with pytest.raises(DataError, match="vertices 0 and 1 with opposite ones"):
        parallel_transport(frames, np.array([[0], [1]]))


def test_a_graph_moves_to_another_precision():
    graph = graph_of(icosphere(1)).to("cpu", torch.float32)
    assert graph.offsets.dtype == graph.frames.dtype == torch.float32
    assert graph.edges.dtype == torch.int64
