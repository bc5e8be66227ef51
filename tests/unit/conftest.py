"""Lets unit tests import the helpers that lie beside them, whichever way pytest lays out its module names."""

import sys
from pathlib import Path

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))
