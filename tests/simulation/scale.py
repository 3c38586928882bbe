"""The product's sizes while a world runs: small enough that a run of seconds fills segments and disks."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Tuple

from raftctl.disk import journal
from raftctl.raft import fullness

# The product's 16 MiB of zeros a segment would be most of a run's work. The part for votes is larger, as a run
# has more of them than a full disk lasts minutes.
SMALL: List[Tuple[Any, str, int]] = [
    (journal, "SEGMENT_SIZE", 16 * 1024), (journal, "VOTES_SHARE", 4), (fullness, "WRITE_BYTES", 4 * 1024),
]


@contextlib.contextmanager
def scaled() -> Iterator[None]:
    """Make them small, and at the end what they were: other tests run in the same process."""
    before = [getattr(module, name) for module, name, _ in SMALL]
    for module, name, size in SMALL:
        setattr(module, name, size)
    try:
        yield
    finally:
        for (module, name, _), size in zip(SMALL, before):
            setattr(module, name, size)
