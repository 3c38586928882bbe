"""`pack`: raftctl as one file that any Python from 3.9 on runs.

The same bytes from every Python, and from a checkout, an installation or a packed file: sorted names, a fixed
date, nothing compressed. `--compile` adds byte code of the running version beside the source; another version
ignores it.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import marshal
import os
import re
import sys
import zipfile
from typing import Dict, Iterator, Tuple

import raftctl
from raftctl.base.errors import DONE, RaftctlError, UsageError
from raftctl.base.files import write_atomic
from raftctl.cli import output

# Without site: what an administrator's site-packages imports at each start may cost more than raftctl itself,
# and is nothing that raftctl needs. The kernel passes one word of a #! line only, hence sh.
START = b'#!/bin/sh\nexec python3 -I -S "$0" "$@"\n'
EARLIEST_DATE = (1980, 1, 1, 0, 0, 0)
REGULAR_644 = 0o100644 << 16
UNIX = 3

# Old syntax, as raftctl.py: a Python that is too old must get as far as the line that says so.
ENTRY = b'''"""Entry point of the packed file."""

import sys

if sys.version_info < (3, 9):
    sys.stderr.write("raftctl: Python %d.%d is too old; use 3.9 or newer (this is %s)\\n"
                     % (sys.version_info[0], sys.version_info[1], sys.executable))
    sys.exit(2)

if __name__ == "__main__":
    from raftctl.cli.main import main

    sys.exit(main())
'''

# What is packed: the name in the file is the group. All else that lies about is left out; an installation has
# the resources inside the package.
_PACKED = re.compile(
    r"""(raftctl/(?:\w+/)*\w+\.py | LICENSE)\Z
      | (?:raftctl/)?(units/\w[\w@.-]*\.service | man/\w[\w.-]*\.[1-9])\Z""",
    re.VERBOSE,
)
_NEEDED = ("raftctl/__init__.py", "raftctl/cli/main.py", "units/node.service", "units/cluster.service",
           "LICENSE")


def run(options: argparse.Namespace) -> int:
    """Write the packed file `options.output`; nothing is left of a try that did not get through."""
    path = options.output
    if os.path.isdir(path):
        raise UsageError(f"{path} is a directory; name the file: -o {os.path.join(path, 'raftctl.pyz')}")
    packed = archive(compiled=options.compile)
    try:
        write_atomic(path, packed, 0o755)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"{path}: not written ({reason}); name another place: -o FILE") from None
    extra = ""
    if options.compile:
        extra = f", with byte code for Python {sys.version_info[0]}.{sys.version_info[1]}"
    output.complain(f"{path}: {len(packed) // 1024} KiB{extra}")
    return DONE


def archive(*, compiled: bool) -> bytes:
    """Return the bytes of the packed file."""
    members = {"__main__.py": ENTRY, **contents()}
    if compiled:
        members.update(
            {f"{name}c": _byte_code(name, source) for name, source in members.items()
             if name.startswith("raftctl/")}
        )
    whole = io.BytesIO()
    whole.write(START)
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EARLIEST_DATE)
            entry.create_system = UNIX
            entry.external_attr = REGULAR_644
            file.writestr(entry, members[name])
    return whole.getvalue()


def contents() -> Dict[str, bytes]:
    """Return what this copy of raftctl consists of, by the name in the packed file."""
    found = {}
    for name, content in _files():
        match = _PACKED.match(name)
        if match:
            found[match.group(1) or match.group(2)] = content
    for name in _NEEDED:
        if name not in found:
            where = os.path.dirname(raftctl.__file__)
            raise RaftctlError(f"{where}: {name} is missing from this copy of raftctl; "
                               "install or copy it again")
    return found


def _files() -> Iterator[Tuple[str, bytes]]:
    """Yield (name, content) of all that is packed, and more."""
    archive_path = getattr(raftctl.__spec__.loader, "archive", None)
    if archive_path is not None:
        with zipfile.ZipFile(archive_path) as file:
            for entry in file.namelist():
                yield entry, file.read(entry)
        return
    package = os.path.dirname(os.path.abspath(raftctl.__file__))
    beside = os.path.dirname(package)
    folders = [package]
    # What lies beside an installed package is not ours.
    is_checkout = os.path.isfile(os.path.join(beside, "raftctl.py"))
    if is_checkout:
        folders += [os.path.join(beside, name) for name in ("units", "man")]
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                # Editors leave links to nowhere; none of ours is a link.
                if not os.path.islink(path):
                    yield os.path.relpath(path, beside), _read(path)
    yield "LICENSE", _read(os.path.join(beside, "LICENSE")) if is_checkout else _installed_licence()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _installed_licence() -> bytes:
    import importlib.metadata

    for path in importlib.metadata.files("raftctl") or ():
        if path.name == "LICENSE":
            return path.read_binary()
    raise RaftctlError("LICENSE is missing from this installation of raftctl; install it again")


def _byte_code(name: str, source: bytes) -> bytes:
    """Return the .pyc of `source`, hash-based and unchecked (PEP 552).

    A date can't serve: zipimport compares it in local time, so it would hold in one time zone only. The hash
    need not be verified at each start: source and byte code come in one file.
    """
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    flags = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)
