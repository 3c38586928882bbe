"""Files that travel with the program (units/, man/, LICENSE), in a checkout, a zipapp and an installation alike."""

from __future__ import annotations

import os
from typing import Dict

import raftctl

# Folders beside the package in a checkout and a zipapp, inside it in an installation (pyproject.toml, package-dir).
FOLDERS = ("units", "man")


def read(name: str) -> bytes:
    """Return the content of `name` ("units/node.service"); raise `FileNotFoundError` where this copy has none.

    By `__spec__.loader`: the `__loader__` of a zipapp's main module is another one.
    """
    package = os.path.dirname(raftctl.__file__)
    loader = raftctl.__spec__.loader
    for folder in (package, os.path.dirname(package)):
        try:
            return loader.get_data(os.path.join(folder, *name.split("/")))  # type: ignore[union-attr]
        except OSError:
            continue
    raise FileNotFoundError(f"{name} is missing in this copy of raftctl ({package})")


def program_files() -> Dict[str, bytes]:
    """Return all files of the program under the names that they have in a checkout, sources only."""
    archive = getattr(raftctl.__spec__.loader, "archive", None)
    return _from_zip(archive) if archive else _from_folders(os.path.dirname(os.path.abspath(raftctl.__file__)))


def _from_zip(archive: str) -> Dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()
                if not name.endswith((".pyc", "/")) and name != "__main__.py"}


def _from_folders(package: str) -> Dict[str, bytes]:
    top = os.path.dirname(package)
    found: Dict[str, bytes] = {}
    for start, prefix in [(package, "raftctl")] + [(os.path.join(top, name), name) for name in FOLDERS]:
        for folder, folders, names in os.walk(start):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names:
                inside = os.path.relpath(os.path.join(folder, name), start).replace(os.sep, "/")
                with open(os.path.join(folder, name), "rb") as file:
                    if not name.endswith(".pyc"):
                        found[_checkout_name(f"{prefix}/{inside}")] = file.read()
    licence = os.path.join(top, "LICENSE")
    if os.path.isfile(licence):
        with open(licence, "rb") as file:
            found["LICENSE"] = file.read()
    return found


def _checkout_name(name: str) -> str:
    for folder in FOLDERS:
        if name.startswith(f"raftctl/{folder}/"):
            return name[len("raftctl/"):]
    return name
