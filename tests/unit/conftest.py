"""Lets unit tests import the helpers in their folder, whatever import mode pytest uses."""

import sys
from pathlib import Path

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))
