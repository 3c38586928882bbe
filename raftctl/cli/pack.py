"""`pack`: the program as one file, the same bytes from every Python and from a checkout, an installation or a zipapp."""

from __future__ import annotations

import argparse
import importlib.util
import io
import marshal
import os
import zipfile
from typing import Dict

from raftctl.base import resources
from raftctl.base.errors import UsageError
from raftctl.base.files import write_atomic

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"""import sys

if sys.version_info < (3, 9):
    sys.exit("raftctl: Python %d.%d is too old, 3.9 is the oldest" % sys.version_info[:2])
from raftctl.cli.main import main

sys.exit(main())
"""
# The oldest date that a zip file can hold: a build has no time of its own.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644


def run(options: argparse.Namespace) -> int:
    """Write the file and say what it is."""
    if os.path.isdir(options.output):
        raise UsageError(f"{options.output} is a directory; name a file: -o raftctl.pyz")
    files = dict(resources.program_files(), **{"__main__.py": _MAIN})
    if options.compile:
        files.update(_byte_code(files))
    data = _SHEBANG + _archive(files)
    try:
        write_atomic(os.path.abspath(options.output), data, 0o755)
    except OSError as error:
        raise UsageError(f"{options.output} can't be written ({os.strerror(error.errno).lower()})") from None
    print(f"{options.output}: {len(data) // 1024} KiB, {len(files)} files; try: python3 {options.output} help")
    return 0


def _archive(files: Dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = _MODE << 16
            info.create_system = 3
            archive.writestr(info, files[name])
    return target.getvalue()


def _byte_code(files: Dict[str, bytes]) -> Dict[str, bytes]:
    """Return the byte code of this version beside each source: zipimport takes x.pyc before x.py.

    Unchecked by hash: zipimport would compare times in local time otherwise, and another version of Python
    passes over what has not its own magic number.
    """
    found = {}
    for name, source in files.items():
        if name.endswith(".py"):
            code = compile(source, name, "exec", dont_inherit=True, optimize=0)
            flags = (0b01).to_bytes(4, "little")
            found[name + "c"] = (importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source)
                                 + marshal.dumps(code))
    return found

