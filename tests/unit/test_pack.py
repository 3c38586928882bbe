"""`pack`: one file, the same bytes everywhere; and the launchers, which too old a Python must understand."""

import argparse
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from raftctl.base.errors import UsageError
from raftctl.cli import pack

TOP = Path(__file__).resolve().parents[2]
WRITE = "import sys; from raftctl.cli import pack; sys.stdout.buffer.write(pack.archive(compiled=False))"


def run(*command, cwd, path="", **more):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(PYTHONDONTWRITEBYTECODE="1", **({"PYTHONPATH": str(path)} if path else {}), **more)
    return subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True,
                          timeout=60, check=False)


def copy_folder(source, target):
    """Copy it; an empty folder, which no clone has, is one that is not there."""
    target.mkdir(parents=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def pythons():
    """Return the other Pythons of this machine by version."""
    found = {}
    for path in [*Path.home().glob(".pyenv/versions/*/bin/python3"), *Path("/usr/bin").glob("python3.*")]:
        if path.name.endswith("config"):
            continue
        done = run(path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])", cwd="/")
        if done.returncode == 0:
            found.setdefault(tuple(map(int, done.stdout.split(b"."))), path)
    return found


OTHERS = pythons()
NEW = {version: path for version, path in OTHERS.items() if version >= (3, 9)}
OLD = {version: path for version, path in OTHERS.items() if version < (3, 9)}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "raftctl.pyz"
    assert pack.run(argparse.Namespace(output=str(path), compile=False)) == 0
    return path


def test_the_packed_file_runs_with_nothing_beside_it(packed, tmp_path):
    done = run(sys.executable, packed, "--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(rb"\d+\.\d+\.\d+\n", done.stdout)


def test_the_packed_file_is_executable_by_all(packed):
    assert stat.S_IMODE(packed.stat().st_mode) == 0o755


def test_the_packed_file_starts_python_without_site(packed, tmp_path):
    (tmp_path / "python3").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    done = run(packed, "state", "two words", cwd="/", PATH=tmp_path)
    assert done.stdout.decode() == f"-I|-S|{packed}|state|two words|"


def test_the_packed_file_runs_by_its_first_line(packed, tmp_path):
    (tmp_path / "python3").symlink_to(sys.executable)
    done = run(packed, "--version", cwd="/", PATH=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_it_holds_the_sources_the_resources_and_nothing_else(packed):
    with zipfile.ZipFile(packed) as file:
        names = file.namelist()
        entries = {(entry.compress_type, entry.date_time, entry.external_attr >> 16)
                   for entry in file.infolist()}
    expected = {"__main__.py", "LICENSE"}
    expected |= {str(path.relative_to(TOP)) for path in (TOP / "raftctl").rglob("*.py")}
    expected |= {str(path.relative_to(TOP))
                 for path in [*TOP.glob("units/*.service"), *TOP.glob("man/*.[1-9]")]}
    assert names == sorted(expected)
    assert entries == {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 0o100644)}


@pytest.mark.parametrize("version", sorted(NEW)
                         or [pytest.param(None, marks=pytest.mark.skip("no other Python here"))])
def test_every_python_packs_the_same_bytes(packed, version, tmp_path):
    done = run(NEW[version], "-c", WRITE, cwd=tmp_path, path=TOP)
    assert done.stderr == b""
    assert done.stdout == packed.read_bytes()


def test_the_packed_file_packs_itself(packed, tmp_path):
    done = run(sys.executable, "-c", WRITE, cwd=packed.parent, path=packed.name)
    assert (done.stdout == packed.read_bytes(), done.stderr) == (True, b"")


def test_an_installation_packs_the_same_bytes(packed, tmp_path):
    site = tmp_path / "site"
    copy_folder(TOP / "raftctl", site / "raftctl")
    for folder in ("units", "man"):
        copy_folder(TOP / folder, site / "raftctl" / folder)
    (site / "units").mkdir()
    (site / "units/stranger.service").write_text("not ours: beside the package lies what others installed")
    information = site / "raftctl-0.1.0.dist-info"
    (information / "licenses").mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: raftctl\nVersion: 0.1.0\n")
    (information / "RECORD").write_text("raftctl-0.1.0.dist-info/licenses/LICENSE,,\n")
    shutil.copy(TOP / "LICENSE", information / "licenses/LICENSE")
    done = run(sys.executable, "-c", WRITE, cwd=tmp_path, path=site)
    assert (done.stdout == packed.read_bytes(), done.stderr) == (True, b"")


def test_what_lies_about_in_a_checkout_is_not_packed(packed, tmp_path):
    for name in ("raftctl", "units", "man"):
        copy_folder(TOP / name, tmp_path / name)
    for name in ("raftctl.py", "LICENSE"):
        shutil.copy(TOP / name, tmp_path / name)
    for name in ("raftctl/notes.txt", "raftctl/.hidden.py", "raftctl/base/errors.py~",
                 "units/node.service.orig", "man/draft.txt", "secret"):
        (tmp_path / name).write_text("not for others")
    (tmp_path / "raftctl/.#errors.py").symlink_to("somebody@host.1")
    done = run(sys.executable, "-c", WRITE, cwd=tmp_path, path=tmp_path)
    assert (done.stdout == packed.read_bytes(), done.stderr) == (True, b"")


def test_byte_code_of_this_python_is_used_and_other_pythons_use_the_source(tmp_path):
    path = tmp_path / "raftctl.pyz"
    assert pack.run(argparse.Namespace(output=str(path), compile=True)) == 0
    look = ("import raftctl.version as module; "
            "print(module.__spec__.cached or module.__file__, module.__version__)")
    # In any time zone: a date in the byte code would be compared with the zip's in local time.
    for zone in ("UTC", "Pacific/Auckland"):
        done = run(sys.executable, "-X", "utf8", "-c",
                   f"import os, time; os.environ['TZ'] = {zone!r}; time.tzset()\n"
                   f"import sys; sys.path.insert(0, 'raftctl.pyz')\n{look}", cwd=tmp_path)
        assert done.stderr == b""
        assert b"raftctl/version.pyc" in done.stdout
    for version, python in NEW.items():
        if version != sys.version_info[:2]:
            done = run(python, path, "--version", cwd=tmp_path)
            assert (done.returncode, done.stderr) == (0, b"")
            break


def test_the_byte_code_is_taken_out_again_by_packing(packed, tmp_path):
    path = tmp_path / "raftctl.pyz"
    path.write_bytes(pack.archive(compiled=True))
    done = run(sys.executable, "-c", WRITE, cwd=tmp_path, path=path)
    assert done.stdout == packed.read_bytes()


def test_a_directory_is_not_overwritten(tmp_path):
    with pytest.raises(UsageError, match=r"is a directory; name the file: -o .*/raftctl\.pyz$"):
        pack.run(argparse.Namespace(output=str(tmp_path), compile=False))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere/raftctl\.pyz: not written \(no such file or directory\); "
                       "name another place: -o FILE$"):
        pack.run(argparse.Namespace(output=str(tmp_path / "nowhere/raftctl.pyz"), compile=False))


def test_a_former_file_is_replaced_not_rewritten(tmp_path):
    path = tmp_path / "raftctl.pyz"
    path.write_bytes(b"the file of a running daemon")
    with open(path, "rb") as running:
        pack.run(argparse.Namespace(output=str(path), compile=False))
        assert running.read() == b"the file of a running daemon"
    assert zipfile.is_zipfile(path)
    assert os.listdir(tmp_path) == ["raftctl.pyz"]


@pytest.mark.parametrize("version", sorted(OLD)
                         or [pytest.param(None, marks=pytest.mark.skip("no old Python here"))])
@pytest.mark.parametrize("launcher", ["checkout", "packed"])
def test_p9_a_python_that_is_too_old_says_so_in_one_line(version, launcher, packed, tmp_path):
    done = run(OLD[version], TOP / "raftctl.py" if launcher == "checkout" else packed, "state", cwd=tmp_path)
    expected = f"raftctl: Python {version[0]}.{version[1]} is too old; use 3.9 or newer (this is "
    assert done.returncode == 2
    assert done.stderr.decode().startswith(expected)
    assert done.stderr.count(b"\n") == 1


def test_p9_the_launcher_alone_says_so_in_one_line(tmp_path):
    shutil.copy(TOP / "raftctl.py", tmp_path / "raftctl.py")
    done = run(sys.executable, "raftctl.py", "state", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"raftctl: {tmp_path.resolve()}/raftctl.py is only the launcher of a checkout and the folder "
        "raftctl/ is not beside it; copy the packed file: raftctl pack -o raftctl.pyz\n")


def test_the_launcher_works_through_a_link_and_from_anywhere(tmp_path):
    (tmp_path / "raftctl").symlink_to(TOP / "raftctl.py")
    done = run(sys.executable, tmp_path / "raftctl", "--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_importing_the_launcher_does_nothing(tmp_path):
    shutil.copy(TOP / "raftctl.py", tmp_path / "raftctl.py")
    done = run(sys.executable, "-c", "import raftctl; print(raftctl.__file__)", cwd=tmp_path)
    assert done.stdout.decode().strip() == str(tmp_path / "raftctl.py")


def test_the_zip_has_no_entry_of_a_newer_format():
    with zipfile.ZipFile(io.BytesIO(pack.archive(compiled=False))) as file:
        assert {(entry.create_version, entry.extract_version, entry.flag_bits)
                for entry in file.infolist()} == {(20, 20, 0)}
