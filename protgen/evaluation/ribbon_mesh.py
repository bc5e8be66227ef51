"""A backbone as a triangle mesh for the 3D view of a report: helices as ribbons, strands as arrows, loops as tubes."""

import base64
from typing import Any

import numpy as np

from protgen.structure.dssp import UNASSIGNED, dssp
from protgen.structure.links import links
from protgen.structure.picture import COLOURS, Facets, ribbon, tidy, view
from protgen.structure.protein import CA, Protein

CODES = tuple(COLOURS)  # a facet's number is its place here
UNIT = 0.01  # Å; coordinates are whole numbers of it, half the bytes of single precision
_AROUND = 8  # points around a cross-section; the page shades smoothly between them
_LONG = 200  # residues; the ribbons of longer chains are coarser, as they are seen from further away


def ribbon_mesh(protein: Protein) -> dict[str, Any]:
    """Vertices and triangles, as plotly.js reads them without a parse: {dtype, bdata}.

    Returns:
        x, y, z (0.01 Å), i, j, k (vertex of each triangle), `code` (secondary structure of each triangle, by place in
        `CODES`) and `along` (its position along the chains, 0 to 255). For a structure without a whole backbone: what
        `ca_line` gives. Either with `span`, its extent along x, y and z.
    """
    facets = ribbon(protein, per_residue=5 if protein.length <= _LONG else 3, around=_AROUND)
    if not len(facets.corners):
        return ca_line(protein)
    n = len(facets.corners)
    points, triangles = triangles_of(facets)
    place = np.int16 if np.abs(points).max() < 32768 else np.int32
    palette = np.array([[int(COLOURS[code][at : at + 2], 16) / 255 for at in (1, 3, 5)] for code in CODES])
    code = np.abs(facets.colours[:, None] - palette).sum(axis=-1).argmin(axis=1)
    along = np.arange(n) * 255 // max(1, n - 1)
    kind = np.uint16 if len(points) < 65536 else np.uint32
    return {
        **{name: packed(points[:, axis].astype(place)) for axis, name in enumerate("xyz")},
        **{name: packed(triangles[:, corner].astype(kind)) for corner, name in enumerate("ijk")},
        "code": packed(np.tile(code, 2).astype(np.uint8)),
        "along": packed(np.tile(along, 2).astype(np.uint8)),
        "span": np.maximum(np.ptp(points, axis=0), 1).tolist(),
    }


def triangles_of(facets: Facets) -> tuple[np.ndarray, np.ndarray]:
    """(p, 3) vertices in units of 0.01 Å, and (t, 3) the vertices of each triangle, two a facet."""
    corners = np.round(facets.corners / UNIT).astype(int)
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    quads = index.reshape(-1, 4)
    return points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def ca_line(protein: Protein) -> dict[str, Any]:
    """A line through the CA atoms, a hundredth of the size of a ribbon.

    Returns:
        ca (Å; x, y, z, each with a gap between pieces of chain), `code` (secondary structure of each point, by place
        in `CODES`, loop where it is unknown) and `span`.
    """
    seen = protein.select(np.asarray(protein.mask[:, CA]))
    if not seen.length:
        return {
            "ca": [packed(np.zeros(0, np.float32))] * 3,
            "code": packed(np.zeros(0, np.uint8)),
            "points": 0,
            "span": [1.0] * 3,
        }
    whole = bool(seen.mask[:, :4].all())
    codes = tidy(dssp(seen).replace(UNASSIGNED, "C")) if whole else "C" * seen.length
    ca = view(seen.atoms)[:, CA] if seen.length > 2 else seen.atoms[:, CA] - seen.atoms[:, CA].mean(axis=0)
    joints = links(seen)
    cuts = np.flatnonzero(joints.broken | ~joints.same_chain) + 1
    places = np.array([CODES.index(code) for code in codes], dtype=np.uint8)
    xyz = np.insert(ca, cuts, np.nan, axis=0).astype(np.float32)
    return {
        "ca": [packed(xyz[:, axis]) for axis in range(3)],
        "code": packed(np.insert(places, cuts, 0)),
        "points": len(xyz),
        "span": np.maximum(np.ptp(ca, axis=0), 1.0).tolist(),
    }


def packed(values: np.ndarray) -> dict[str, str]:
    """An array as plotly.js's typed arrays: base64 of its little-endian bytes."""
    names = {"float32": "f4", "int16": "i2", "int32": "i4", "uint8": "u1", "uint16": "u2", "uint32": "u4"}
    name = names[values.dtype.name]
    ordered = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return {"dtype": name, "bdata": base64.b64encode(ordered.tobytes()).decode("ascii")}
