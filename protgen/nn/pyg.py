"""Batches as PyTorch Geometric has them, and back: real residues one after another in place of rows with padding."""

from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.data import Batch as PyGBatch
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData
from torch_geometric.utils import to_dense_batch

from protgen.errors import DataError
from protgen.nn.graph import Wiring, build_graph, edge_weights
from protgen.types import Batch


def to_pyg(batch: Batch, wiring: Wiring | None = None, positions: str = "atoms") -> PyGBatch:
    """A batch as PyG's: one `Data` a chain, joined, so that `batch[i]` and PyG's loaders and layers take it.

    Arrays per residue are attributes of nodes, the others of graphs; `index` is the place of a residue along its chain.

    Args:
        batch: as a data set gives it.
        wiring: adds the edges of our graph encoders, `edge_index` (2, e) and `edge_weight` (e,), and `pos` (n, 3) Å.
        positions: the array that holds positions, (b, l, 3) or (b, l, atoms, 3) with CA second.

    Example:
        >>> batch = Batch({"trans": torch.randn(2, 5, 3)}, torch.ones(2, 5, dtype=torch.bool))
        >>> to_pyg(batch, Wiring(nearest=2, sequence=1, long_range=0), "trans")[0]
        Data(trans=[5, 3], index=[5], pos=[5, 3], edge_index=[2, 18], edge_weight=[18], num_nodes=5)
    """
    chains = [Data(**_attributes(batch, row)) for row in range(len(batch.mask))]
    if wiring is not None:
        for row, chain in enumerate(chains):
            _connect(chain, batch.arrays[positions][row], batch.mask[row], wiring)
    return PyGBatch.from_data_list(list[BaseData](chains))


def from_pyg(data: PyGBatch) -> Batch:
    """The batch of a PyG batch: attributes of nodes padded with zeros, others as they are; edges are left out.

    Args:
        data: of `to_pyg`, or joined by `torch_geometric.data.Batch.from_data_list`.

    Raises:
        DataError: if it has no attribute of nodes.
    """
    joined = cast(Data, data)  # PyG's Batch takes the class of what it joins when it is made
    arrays: dict[str, Tensor] = {}
    mask = None
    for name, value in joined.to_dict().items():
        if name in ("batch", "ptr", "index", "pos") or not isinstance(value, Tensor) or joined.is_edge_attr(name):
            continue
        if joined.is_node_attr(name):
            arrays[name], mask = to_dense_batch(value, joined.batch)
        else:
            arrays[name] = value
    if mask is None:
        raise DataError(
            f"a PyG batch with {', '.join(joined.to_dict()) or 'nothing'} has no attribute of nodes; add one"
        )
    return Batch(arrays, mask)


def _attributes(batch: Batch, row: int) -> dict[str, Any]:
    """Of one chain: arrays per residue without padding, arrays per chain with a first axis of one."""
    mask = batch.mask[row]
    shape = batch.mask.shape
    found = {
        name: value[row][mask] if value.shape[:2] == shape else value[row : row + 1]
        for name, value in batch.arrays.items()
    }
    index = torch.arange(len(mask), device=mask.device)[mask]
    return {**found, "index": index, "num_nodes": len(index)}


def _connect(chain: Data, positions: Tensor, mask: Tensor, wiring: Wiring) -> None:
    """Adds the edges of a chain."""
    chain.pos = (positions[:, 1] if positions.ndim == 3 else positions)[mask]
    graph = build_graph(torch.ones_like(mask[mask])[None], [chain.pos[None]], wiring, chain.index[None])
    chain.edge_index = graph.edge_index
    chain.edge_weight = edge_weights(graph, [chain.pos])
