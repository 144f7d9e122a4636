"""Geometry on the sphere: meshes, operators on them, harmonics, and weights to and from grids."""
