"""Protein backbones as one vector of fold descriptors each: what classical models are fitted to.

Field `descriptors` (b, 1, d), Euclidean, standardised: how the CA trace winds, how compact it is, and its fractions of
helix and strand, as `protgen.structure.trace.describe` defines them. No structure can be made of a point, so the space
is not `Positional`. It serves densities p(x | y), and Bayes classifiers p(y | x) (`protgen.families.classify`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.errors import ConfigError, UsageError
from protgen.registry import nearest
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import Observable
from protgen.spaces.latent import LatentHead
from protgen.spaces.manifolds import Euclidean
from protgen.structure import trace
from protgen.structure.dssp import assign_dssp
from protgen.types import Batch, State

# Mean and standard deviation over 5,546 native chains and crops of 40 to 128 residues: the training split of the
# released models. Units as in `protgen.structure.trace`; log_length in nats.
REFERENCE = {
    "writhe": (0.047, 0.0422),
    "abs_writhe": (0.28, 0.0392),
    "crossings_3_10": (0.085, 0.0262),
    "crossings_10_25": (0.0541, 0.0127),
    "crossings_25_60": (0.0733, 0.0232),
    "crossings_60_10000": (0.0245, 0.0217),
    "writhe_3_10": (0.0182, 0.0163),
    "writhe_10_25": (-0.000884, 0.00906),
    "writhe_25_60": (0.00168, 0.00649),
    "writhe_60_10000": (0.000139, 0.00378),
    "helix": (0.403, 0.238),
    "strand": (0.227, 0.19),
    "rg_exponent": (0.404, 0.0289),
    "contacts_per_residue": (2.47, 0.313),
    "contact_order": (0.204, 0.0736),
    "shape_second": (0.451, 0.202),
    "shape_third": (0.252, 0.135),
    "log_length": (4.49, 0.264),
}


class Descriptors(Space, Observable):
    """Fold descriptors of a single chain, in units of their standard deviation among natives.

    Args:
        names: which, in this order; all of them where empty.

    Raises:
        ConfigError: for a name that is not among them, or one that is named twice.

    Example:
        >>> from protgen.structure.ideal import ideal_helix
        >>> atoms = torch.from_numpy(ideal_helix(30)[None]).float()
        >>> space = Descriptors(["helix", "rg_exponent"])
        >>> x = space.encode(Batch({"atoms": atoms}, torch.ones(1, 30, dtype=torch.bool)))
        >>> round(float(space.decode(x)["descriptors"][0, 0]), 2)  # the ends of a helix are coil to DSSP
        0.93
    """

    volume = "units of the standard deviation of each descriptor among natives (protgen.spaces.descriptors.REFERENCE)"

    def __init__(self, names: Sequence[str] = ()) -> None:
        super().__init__()
        known = list(trace.DESCRIPTORS)
        self.names = tuple(names) or trace.DESCRIPTORS
        for name in self.names:
            if name not in known:
                raise ConfigError(f"no descriptor {name!r}: {nearest(str(name), known)}")
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"a descriptor is named twice in {', '.join(self.names)}; name each once")
        self.columns = [known.index(name) for name in self.names]
        self.manifolds = {"descriptors": Euclidean(len(self.names))}
        self.reference = np.array([REFERENCE[name] for name in self.names]).T

    def encode(self, batch: Batch) -> State:
        """Descriptors of the N, CA, C, O in `batch["atoms"]` (b, l, 4, 3), Å, standardised; not differentiable.

        Raises:
            UsageError: if a chain has too few residues to have a fold.
        """
        mean, std = self.reference
        rows = []
        for atoms, mask in zip(batch["atoms"].detach().cpu().double().numpy(), batch.mask.cpu().numpy(), strict=True):
            if mask.sum() < trace.FEWEST:
                raise UsageError(
                    f"a chain of {mask.sum()} residues has no fold to describe; give at least {trace.FEWEST}"
                )
            rows.append((describe(atoms[mask])[self.columns] - mean) / std)
        values = torch.from_numpy(np.array(rows)).float().to(batch.mask.device)
        return State({"descriptors": values[:, None]}, self.full_mask(len(rows)).to(batch.mask.device))

    def full_mask(self, count: int) -> Bool[Tensor, "b 1"]:
        """The mask of that many points: each has one position."""
        return torch.ones(count, 1, dtype=torch.bool)

    def decode(self, state: State) -> Batch:
        """`descriptors` (b, d) in their own units, in the order of `names`."""
        return Batch({"descriptors": self.observe(state)[:, 0]}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b 1 d"]:
        """Descriptors in their own units, differentiable in the standardised ones."""
        mean, std = (state["descriptors"].new_tensor(values) for values in self.reference)
        return state["descriptors"] * std + mean

    @property
    def normals_per_position(self) -> int:
        """One for each descriptor."""
        return len(self.names)

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Standard normals."""
        return State({"descriptors": masked(normals, mask)}, mask)

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """1: they are standardised."""
        return {"descriptors": torch.ones(len(mask), device=mask.device)}

    def project(self, state: State) -> State:
        """Zeros under padding."""
        return state.map(lambda x: masked(x, state.mask))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """A linear map of the scalars."""
        return LatentHead(scalar_dim, len(self.names), "descriptors")


def describe(backbone: np.ndarray) -> np.ndarray:
    """All descriptors of one chain (l, 4, 3), Å; secondary structure by `protgen.structure.dssp`."""
    ca = backbone[:, 1]
    codes = assign_dssp(backbone[None])[0]
    pairs = trace.contacts(ca)
    order = trace.relative_contact_order(pairs, np.zeros(len(ca)))
    return trace.describe(ca, float((codes == "H").mean()), float((codes == "E").mean()), pairs, order)
