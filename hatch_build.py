"""Builds the compiled twin of trial identity where a C compiler is; where none is, the Python code serves.

An installation never fails for want of a compiler: what went wrong is a warning, and `genesis doctor` says which of the
two is in use. A wheel with the compiled code is for one platform, one without for any.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension

FOLDER = "genesis/trials"
MODULE = "_fastkey"


class FastKeyHook(BuildHookInterface):
    """Puts the compiled module into a wheel, or beside its source for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile first, so that what is built says truly which platform it is for."""
        beside = Path(self.root, "src", FOLDER)
        self._scratch = tempfile.mkdtemp(prefix="genesis-build-")
        built = self._compile(beside / f"{MODULE}.c")
        if built is None:
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version == "editable":
            # Copied, then renamed: a process that starts meanwhile finds the old file or the new one.
            fresh = beside / f".{built.name}.new"
            shutil.copyfile(built, fresh)
            fresh.replace(beside / built.name)
        else:
            build_data["force_include"][str(built)] = f"{FOLDER}/{built.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Leave nothing behind."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _compile(self, source: Path) -> Path | None:
        sources = sorted(source.parent.glob(f"{MODULE}*.[ch]"))
        checksum = zlib.crc32(b"".join(path.read_bytes() for path in sources)) & 0x7FFF_FFFF  # compared at import
        extension = Extension(MODULE, [str(source)], define_macros=[("GENESIS_SOURCE", str(checksum))])
        try:
            command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
            command.build_lib = command.build_temp = self._scratch
            command.ensure_finalized()
            command.run()
            return Path(command.get_ext_fullpath(MODULE))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - compilers fail in many ways, none stops the install
            self.app.display_warning(f"Genesis: trial keys come from Python, not from compiled code ({error})")
            return None
