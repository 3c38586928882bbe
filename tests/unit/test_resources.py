"""`units/`, `man/` and LICENSE are found in a checkout, a zipapp and an installation."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from raftctl.base import resources
from raftctl.base.errors import RaftctlError

TOP = Path(__file__).resolve().parents[2]
READ = ("from raftctl.base import resources; import sys; "
        "sys.stdout.buffer.write(resources.read('units/node.service'))")


def read_with(path, cwd):
    """Return what a Python that finds raftctl at `path` reads, and what it says."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", READ], cwd=cwd, env=environment, capture_output=True,
                          timeout=60, check=False)
    return done.stdout, done.stderr.decode()


def copy_package(target):
    shutil.copytree(TOP / "raftctl", target, ignore=shutil.ignore_patterns("__pycache__"))


def test_a_checkout_has_them_beside_the_package():
    assert resources.read("LICENSE") == (TOP / "LICENSE").read_bytes()
    assert resources.read("units/node.service") == (TOP / "units/node.service").read_bytes()


def test_an_installation_has_them_in_the_package(tmp_path):
    copy_package(tmp_path / "site/raftctl")
    shutil.copytree(TOP / "units", tmp_path / "site/raftctl/units")
    (tmp_path / "site/units").mkdir()
    (tmp_path / "site/units/node.service").write_text("somebody else's")
    assert read_with(tmp_path / "site", tmp_path) == ((TOP / "units/node.service").read_bytes(), "")


def test_a_zipapp_has_them_beside_the_package_also_under_a_relative_path(tmp_path):
    with zipfile.ZipFile(tmp_path / "raftctl.pyz", "w") as file:
        for path in (TOP / "raftctl").rglob("*.py"):
            file.write(path, path.relative_to(TOP))
        file.write(TOP / "units/node.service", "units/node.service")
    assert read_with("raftctl.pyz", tmp_path) == ((TOP / "units/node.service").read_bytes(), "")


def test_one_that_is_missing_is_named():
    with pytest.raises(RaftctlError, match=r"man/nothing\.1 is missing from this copy of raftctl"):
        resources.read("man/nothing.1")
