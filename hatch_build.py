"""Build hook of the wheel: compiles the TM-score search into it, where there is a C compiler.

Without one the wheel is pure Python, and the search runs in numpy. `PROTGEN_NATIVE=0` asks for that. `PROTGEN_NATIVE=1`
makes a failure to compile an error, for wheels that are to be published. An editable install keeps the library beside
its sources.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

FOLDER = "protgen/metrics"


def load_builder(root: Path) -> ModuleType:
    """`protgen.metrics.tm_library`, without the packages that `protgen` itself needs."""
    spec = importlib.util.spec_from_file_location("tm_library", root / FOLDER / "tm_library.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NativeBuildHook(BuildHookInterface):
    """Adds the library and the tag of its platform to a wheel."""

    PLUGIN_NAME = "custom"
    scratch: tempfile.TemporaryDirectory | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless told not to; `version` is "standard" or "editable"."""
        wish = os.environ.get("PROTGEN_NATIVE", "")
        if wish == "0":
            return
        builder = load_builder(Path(self.root))
        try:
            if version == "editable":
                builder.build_in_place()
                return
            self.scratch = tempfile.TemporaryDirectory(prefix="protgen-")
            made = builder.build(Path(self.scratch.name))
        except builder.NoLibraryError as reason:
            if wish == "1":
                raise
            self.app.display_warning(f"the TM-score search is not compiled, numpy does its work: {reason}")
            return
        build_data["force_include"][str(made)] = f"{FOLDER}/native/{made.name}"
        build_data["pure_python"] = False
        # Any Python 3: the library is loaded by ctypes and knows nothing of the interpreter.
        platform = next(
            tag.platform for tag in sys_tags() if "manylinux" not in tag.platform and "musllinux" not in tag.platform
        )
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        if self.scratch is not None:
            self.scratch.cleanup()
