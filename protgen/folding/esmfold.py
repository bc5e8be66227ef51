"""ESMFold by way of transformers: structure from one sequence, no alignment; the field's usual oracle.

The network is called with residue types as AlphaFold counts them (A, R, N, D, ... V), which are its input ids, so no
tokenizer is needed. Of what it returns `positions` (blocks, b, l, 14, 3), whose first four atoms are N, CA, C, O of any
residue, and `plddt` (b, l, 37), 0 to 1, of which the second is that of CA. The weights (8 GB) are fetched by
transformers at the first use of a name, or read from a folder.

References: Lin et al. 2023, Science 379, 1123.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np

from protgen.errors import ConfigError, ToolError, UsageError
from protgen.folding.base import CHAIN, Folded, StructurePredictor
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_names import ONE_LETTER, THREE_LETTER
from protgen.types import JSON

MISSING = "esmfold: transformers is missing; pip install 'protgen[esmfold]'"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # one of which a checkpoint holds
LETTERS = "".join(ONE_LETTER.values())  # in the order of AlphaFold's residue types


class ESMFold(StructurePredictor):
    """ESMFold as transformers has it (`EsmForProteinFolding`).

    Args:
        weights: name of a checkpoint on the Hugging Face hub, or a folder that holds one.
        recycles: further passes through the trunk; None for the checkpoint's own number.
        chunk_size: rows of the attention over pairs at a time, which bounds memory; None for all.
        device: "auto", "cpu", "cuda".

    Raises:
        ConfigError: if a number makes no sense.
    """

    name = "esmfold"
    self_contained = False  # its weights, 8 GB, are fetched
    several_chains = False

    def __init__(
        self,
        weights: str = "facebook/esmfold_v1",
        recycles: int | None = None,
        chunk_size: int | None = None,
        device: str = "auto",
    ) -> None:
        if (recycles is not None and recycles < 0) or (chunk_size is not None and chunk_size < 1):
            raise ConfigError(f"esmfold: recycles {recycles} is 0 or more, chunk_size {chunk_size} 1 or more")
        self.weights = weights
        self.recycles = recycles
        self.chunk_size = chunk_size
        self.device = device
        self._network: Any = None

    @property
    def settings(self) -> JSON:
        """The checkpoint's name and the number of recycles; chunks and devices change rounding alone."""
        return {"name": self.name, "weights": self.weights, "recycles": self.recycles}

    def prepare(self) -> None:
        """Look for transformers; the checkpoint is loaded when it is needed, as all refolds may be cached."""
        if importlib.util.find_spec("transformers") is None:
            raise UsageError(MISSING)

    def at_hand(self) -> bool:
        """Whether transformers is installed and the checkpoint is on the disk: a fold would fetch nothing."""
        if importlib.util.find_spec("transformers") is None:
            return False
        return any(holds_checkpoint(folder) for folder in (Path(self.weights), *snapshots(self.weights)))

    def fold(self, sequence: str) -> Folded:
        """Predict one chain; ESMFold was not trained on several."""
        import torch

        if CHAIN in sequence:
            raise ToolError("esmfold: folds single chains; fold several elsewhere and give their files by --refolds")
        odd = set(sequence) - set(LETTERS)
        if odd or not sequence:
            raise ToolError(f"esmfold: {''.join(sorted(odd)) or 'an empty sequence'}: no amino acids it knows")
        network = self.network()
        device = next(network.parameters()).device
        types = torch.tensor([[LETTERS.index(letter) for letter in sequence]], device=device)
        try:
            with torch.no_grad():
                found = network(types, num_recycles=self.recycles)
        except RuntimeError as error:  # out of memory, most likely: shorter ones may fit
            raise ToolError(f"esmfold: {len(sequence)} residues: {str(error).splitlines()[0]}") from None
        backbone = found["positions"][-1, 0, :, :4].double().cpu().numpy()
        plddt = 100.0 * found["plddt"][0, :, CA].double().cpu().numpy()
        if not np.isfinite(backbone).all():
            raise ToolError("esmfold: gave positions that are not finite")
        names = np.array([THREE_LETTER[letter] for letter in sequence])
        return Folded(Protein.from_backbone(backbone, name="esmfold", residue_names=names), plddt)

    def network(self) -> Any:
        """The network, loaded when it is first asked for.

        Raises:
            UsageError: if transformers is missing, or the checkpoint cannot be had.
        """
        if self._network is None:
            from protgen.device import pick_device

            try:
                from transformers import EsmForProteinFolding  # type: ignore[import-not-found]
            except ImportError:
                raise UsageError(MISSING) from None
            device = pick_device(self.device)
            try:
                network = EsmForProteinFolding.from_pretrained(self.weights).eval()
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"esmfold: checkpoint {self.weights!r} cannot be had: {reason}") from None
            # Half precision of the language model is for GPUs; on a CPU it is slow or missing.
            network = network.to(device) if device.type == "cuda" else network.float().to(device)
            if self.chunk_size is not None:
                network.trunk.set_chunk_size(self.chunk_size)
            self._network = network
        return self._network


def snapshots(checkpoint: str) -> list[Path]:
    """Folders of what the client of the Hugging Face hub has fetched of a checkpoint; the client itself is not needed.

    Args:
        checkpoint: its name on the hub.
    """
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    return sorted((cache / ("models--" + checkpoint.replace("/", "--")) / "snapshots").glob("*"))


def holds_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a configuration and weights; a link to what was fetched in part leads nowhere."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in WEIGHTS)
