"""Logging of a daemon: `[time] [address] LEVEL text`, written by one thread that alone may wait for the sink.

Whoever logs puts a record into a bounded queue and goes on; what does not fit is dropped and counted, so
that a log that nobody reads never stops the node thread or the guardian (pitfall 10.4). Only daemons
import this.
"""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import queue
import select
import stat
import threading
import time
from typing import Any, Callable, Optional

from raftctl.base import clock
from raftctl.base.errors import UsageError

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
QUEUE_LIMIT = 4096
_STANDARD_ERROR = 2
_MENDS = {
    errno.ENOENT: "make its directory, or ",
    errno.EACCES: "let this user write there, or ",
}


class Logs:
    """The logging of this process, or of one of its targets, from `setup`; all methods from any thread."""

    def __init__(self, sink: _Sink, level: int, logger: logging.Logger) -> None:
        self._sink = sink
        records: queue.Queue = queue.Queue(QUEUE_LIMIT)
        self._handler = _Handler(records)
        self._listener = _Listener(records, sink)  # type: ignore[arg-type]
        sink.count_dropped = lambda: self._handler.dropped
        self._logger = logger
        self._former = (logger.level, logger.propagate)
        logger.setLevel(level)
        logger.propagate = False
        logger.addHandler(self._handler)
        self._listener.start()

    @property
    def dropped(self) -> int:
        """How many records were not written since `setup`: queue full, or the sink refused them."""
        return self._handler.dropped + self._sink.refused

    def flush(self, deadline_s: float = 2.0) -> bool:
        """Wait until all that was logged before is written, at most `deadline_s`; tell whether it is."""
        return self._listener.drain(deadline_s)

    def reopen(self) -> None:
        """Open the log file anew at the next record (SIGHUP); a file moved away is noticed without it."""
        self._sink.must_reopen = True

    def close(self, deadline_s: float = 2.0) -> None:
        """Write what is queued, for at most `deadline_s`; log no more. A hung sink keeps its thread."""
        self._logger.removeHandler(self._handler)
        level, self._logger.propagate = self._former
        self._logger.setLevel(level)
        self._handler.close()
        if self._listener.drain(deadline_s):
            self._listener.stop()
            self._sink.close()


def setup(address_text: str, log_file: Optional[str], level: str, logger: str = "") -> Logs:
    """Send the root logger of this process to `log_file` (None: standard error); lines carry `address_text`.

    A `logger` by name is a target of its own (the guardian has one a node); what it gets goes nowhere else.
    `level` is a key of `LEVELS`. Raises `UsageError` if the file can't be opened; its directory is not made.
    """
    return Logs(_Sink(address_text, log_file), LEVELS[level], logging.getLogger(logger or None))


class _Handler(logging.handlers.QueueHandler):
    """Never waits: a full queue costs the record, not the caller's time."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:
        # The inherited one writes to standard error, which may be the very pipe that nobody reads.
        self.dropped += 1


class _Mark(threading.Event):
    """Put into the queue to learn when all before it has been written."""


class _Listener(logging.handlers.QueueListener):
    def drain(self, deadline_s: float) -> bool:
        end = time.monotonic() + deadline_s
        mark = _Mark()
        try:
            self.queue.put(mark, timeout=deadline_s)  # type: ignore[attr-defined]
        except queue.Full:
            return False
        return mark.wait(max(0.0, end - time.monotonic()))

    def handle(self, record: Any) -> None:
        if isinstance(record, _Mark):
            record.set()
        else:
            super().handle(record)


class _Sink:
    """Writes each record with one write(2): no buffer, and the lines of two processes stay whole.

    Not a `logging.Handler`: `logging.shutdown` would wait at exit for the lock that a hung write holds.
    Used by the listener's thread only, but for `must_reopen`.
    """

    level = logging.NOTSET

    def __init__(self, address_text: str, path: Optional[str]) -> None:
        self._label = address_text
        self._path = path
        self._descriptor = _STANDARD_ERROR if path is None else _open(path)
        self._reported = 0
        self.count_dropped: Callable[[], int] = int
        self.refused = 0
        self.must_reopen = False

    def handle(self, record: logging.LogRecord) -> None:
        self._follow_rotation()
        dropped = self.count_dropped()
        if dropped > self._reported:
            self._write(self._line(time.time(), "WARNING", f"log lines dropped: {dropped - self._reported}"))
            self._reported = dropped
        self._write(self._line(record.created, record.levelname, record.getMessage()))

    def _line(self, created: float, level: str, text: str) -> bytes:
        # Continued lines are indented, so that no text can pass for a line of the log.
        shown = "".join(
            c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text
        )
        shown = shown.rstrip("\n").replace("\n", "\n    ")
        line = f"[{clock.wall_text(created)}] [{self._label}] {level} {shown}\n"
        return line.encode("utf-8", "backslashreplace")

    def _write(self, line: bytes) -> None:
        try:
            while line:
                try:
                    line = line[os.write(self._descriptor, line) :]
                except BlockingIOError:
                    # Somebody else made the shared standard error non-blocking; give its reader a second.
                    if not select.select([], [self._descriptor], [], 1.0)[1]:
                        self.refused += 1
                        return
        except OSError:
            self.refused += 1

    def _follow_rotation(self) -> None:
        if self._path is None or not (self.must_reopen or self._was_moved(self._path)):
            return
        self.must_reopen = False
        try:
            fresh = _open(self._path)
        except UsageError:
            return  # Goes on into the old file and tries again with the next record.
        os.close(self._descriptor)
        self._descriptor = fresh

    def _was_moved(self, path: str) -> bool:
        ours = os.fstat(self._descriptor)
        try:
            named = os.stat(path)
        except OSError:
            return True
        return (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino)

    def close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)


def _open(path: str) -> int:
    """Open `path` to append; never waits for the other end of a FIFO."""
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640
        )
    except OSError as error:
        mend = _MENDS.get(error.errno or 0, "")
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f'log file {path} can\'t be opened ({reason}); {mend}change "logFile"') from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) and path != os.devnull:
        os.close(descriptor)
        raise UsageError(f'log file {path} is no regular file; leave "logFile" out to log to standard error')
    return descriptor
