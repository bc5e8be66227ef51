"""The sequence designer that is taken where none is named."""

from protgen.errors import UsageError
from protgen.inverse_folding.graph_mpnn import GraphMPNN
from protgen.inverse_folding.proteinmpnn import ProteinMPNN

BEST = "auto"


def best_installed() -> str:
    """ProteinMPNN where its weights are installed, else our own network, whose weights come with the package."""
    try:
        ProteinMPNN().prepare()
    except UsageError:
        return GraphMPNN.name
    return ProteinMPNN.name
