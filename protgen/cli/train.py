"""`protgen train`: under construction."""

CONTEXT: dict = {}


def train() -> None:
    """Train a model on a store."""
