"""Packages made in a test: wheels, an index directory with them, and a build backend without dependencies."""

from __future__ import annotations

import zipfile
from pathlib import Path

BACKEND = """
def get_requires_for_build_wheel(settings=None):
    return []

def prepare_metadata_for_build_wheel(directory, settings=None):
    import os
    folder = os.path.join(directory, "dyn-3.dist-info")
    os.makedirs(folder)
    with open("deps.txt") as deps, open(os.path.join(folder, "METADATA"), "w") as out:
        out.write("Metadata-Version: 2.1\\nName: dyn\\nVersion: 3\\n")
        out.writelines(f"Requires-Dist: {line}" for line in deps)
    with open(os.path.join(folder, "WHEEL"), "w") as out:
        out.write("Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    return "dyn-3.dist-info"
"""


def wheel(folder: Path, name: str, version: str, *, requires: tuple[str, ...] = ()) -> Path:
    """A wheel with one module ``name`` that has ``VERSION``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path
