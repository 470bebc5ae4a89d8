"""Small meshes with known properties, for the tests."""

import numpy as np
import trimesh


def sphere(radius=1.0, subdivisions=4, center=(0.0, 0.0, 0.0)):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    mesh.apply_translation(center)
    return mesh


def sphere_with_holes(radius=1.0, directions=((0, 0, -1),), angle=0.35):
    """A sphere without the faces within `angle` radians of each direction: one round hole each."""
    mesh = sphere(radius, subdivisions=5)
    axes = np.asarray(directions, float) / np.linalg.norm(directions, axis=-1, keepdims=True)
    cosine = (mesh.triangles_center / np.linalg.norm(mesh.triangles_center, axis=-1, keepdims=True)) @ axes.T
    mesh.update_faces((cosine < np.cos(angle)).all(-1))
    mesh.remove_unreferenced_vertices()
    return mesh


def torn_box(extents=(2.0, 1.0, 0.5)):
    """A watertight box in which every face has vertices of its own, as texture seams and STL files make them."""
    box = trimesh.creation.box(extents=extents)
    return trimesh.Trimesh(box.vertices[box.faces].reshape(-1, 3), np.arange(36).reshape(12, 3), process=False)


def snowman(scale=1.0, center=(0.0, 0.0, 0.0), subdivisions=4):
    """A big ball, a small one upon it in y, and a third to its side in x: no two views of it are alike."""
    balls = [sphere(scale * radius, subdivisions, scale * np.array(offset)) for offset, radius in SNOWMAN]
    mesh = trimesh.util.concatenate(balls)
    mesh.apply_translation(center)
    return mesh


def pyramid(corners, depth=0.3):
    """A pyramid over a star, a fan of long thin faces; with a depth of 0 it is a cone. Its base is a fan, too."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radius = 1 - depth * (np.arange(corners) % 2)
    base = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], -1)
    around = np.arange(corners)
    sides = [np.stack([around, np.roll(around, -1), np.full(corners, corners)], -1)]
    sides.append(np.stack([np.roll(around, -1), around, np.full(corners, corners + 1)], -1))
    return trimesh.Trimesh([*base, [0, 0, 1], [0, 0, 0]], np.concatenate(sides), process=False)


SNOWMAN = (((0, -0.4, 0), 0.5), ((0, 0.45, 0), 0.4), ((0.55, 0, 0.1), 0.2))
"""Centres and radii of its balls."""
