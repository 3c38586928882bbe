"""Logging of a daemon: `[time] [address] LEVEL text`, written by one thread that alone may wait for the sink.

Whoever logs puts a record into a bounded queue and goes on; what does not fit is dropped and counted, so
that a log that nobody reads never stops the node thread or the guardian (pitfall 10.4). Only daemons
import this. Not on `logging.handlers`: its queue costs each process 0.7 MiB (it imports pickle).
"""

from __future__ import annotations

import collections
import errno
import logging
import os
import select
import stat
import threading
import time
from typing import Callable, Deque, NamedTuple, Optional, Tuple, Union

from raftctl.base import clock
from raftctl.base.errors import UsageError

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
QUEUE_LIMIT = 4096
STANDARD_ERROR = 2
_MENDS = {
    errno.ENOENT: "make its directory, or ",
    errno.EACCES: "let this user write there, or ",
}


class Logs:
    """The logging of this process, or of one of its targets, from `setup`; all methods from any thread."""

    def __init__(self, sink: _Sink, level: int, logger: logging.Logger) -> None:
        self._sink = sink
        self._writer = _Writer(sink)
        self._handler = _Handler(self._writer)
        sink.count_dropped = lambda: self._handler.dropped
        self._logger = logger
        self._former = (logger.level, logger.propagate)
        logger.setLevel(level)
        logger.propagate = False
        logger.addHandler(self._handler)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """How many records were not written since `setup`: queue full, or the sink refused them."""
        return self._handler.dropped + self._sink.refused

    def flush(self, deadline_s: float = 2.0) -> bool:
        """Wait until all that was logged before is written, at most `deadline_s`; tell whether it is."""
        return self._writer.drain(deadline_s)

    def reopen(self) -> None:
        """Open the log file anew at the next record (SIGHUP); a file moved away is noticed without it."""
        self._sink.must_reopen = True

    def switch(self, path: Optional[str], descriptor: Optional[int], level: str) -> None:
        """Go on at `level`, and into `descriptor`, what `open_target(path)` returned; None: no other file."""
        self._logger.setLevel(LEVELS[level])
        if descriptor is not None:
            self._sink.next_file = path, descriptor

    def close(self, deadline_s: float = 2.0) -> None:
        """Write what is queued, for at most `deadline_s`; log no more. A hung sink keeps its thread."""
        self._logger.removeHandler(self._handler)
        level, self._logger.propagate = self._former
        self._logger.setLevel(level)
        self._handler.close()
        end_s = time.monotonic() + deadline_s
        if self._writer.drain(deadline_s) and self._writer.stop(end_s - time.monotonic()):
            self._sink.close()


def setup(address_text: str, log_file: Optional[str], level: str, logger: str = "") -> Logs:
    """Send the root logger of this process to `log_file` (None: standard error); lines carry `address_text`.

    A `logger` by name is a target of its own (the guardian has one a node); what it gets goes nowhere else.
    `level` is a key of `LEVELS`. Raises `UsageError` if the file can't be opened; its directory is not made.
    """
    return Logs(_Sink(address_text, log_file), LEVELS[level], logging.getLogger(logger or None))


class _Line(NamedTuple):
    created: float
    level: str
    text: str


class _Handler(logging.Handler):
    """Never waits: a full queue costs the record, not the caller's time."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self._writer = writer
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Here, not in the writer's thread: what the arguments say may be another thing by then.
            line = _Line(record.created, record.levelname, self.format(record))
        except Exception:
            # A text that can't be made, whatever its arguments raise: a log line must not end the caller.
            self.dropped += 1
            return
        if not self._writer.put(line):
            self.dropped += 1


class _Writer:
    """The queue and its one thread, the only one that may wait for the sink."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._changed = threading.Condition()
        self._waiting: Deque[Union[_Line, threading.Event, None]] = collections.deque()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, line: _Line) -> bool:
        """Return whether there was room."""
        with self._changed:
            if len(self._waiting) >= QUEUE_LIMIT:
                return False
            self._waiting.append(line)
            self._changed.notify()
        return True

    def drain(self, deadline_s: float) -> bool:
        """Wait until all that was put before is written, at most `deadline_s`; tell whether it is."""
        mark = threading.Event()
        with self._changed:
            self._waiting.append(mark)
            self._changed.notify()
        return mark.wait(deadline_s)

    def stop(self, deadline_s: float) -> bool:
        """End the thread after what was put before, within `deadline_s`; tell whether it has ended."""
        with self._changed:
            self._waiting.append(None)
            self._changed.notify()
        self._thread.join(max(deadline_s, 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                item = self._waiting.popleft()
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._sink.write(item)


class _Sink:
    """Writes each record with one write(2): no buffer, and the lines of two processes stay whole.

    Not a `logging.Handler`: `logging.shutdown` would wait at exit for the lock that a hung write holds.
    Used by the writer's thread only, but for `must_reopen` and `next_file`.
    """

    def __init__(self, address_text: str, path: Optional[str]) -> None:
        self._label = address_text
        self._path = path
        self._descriptor = STANDARD_ERROR if path is None else _open(path)
        self._reported = 0
        self.count_dropped: Callable[[], int] = int
        self.refused = 0
        self.must_reopen = False
        # Where `switch` wants it to go on, taken by the writer's thread.
        self.next_file: Optional[Tuple[Optional[str], int]] = None

    def write(self, line: _Line) -> None:
        self._follow_rotation()
        dropped = self.count_dropped()
        if dropped > self._reported:
            self._write(self._line(time.time(), "WARNING", f"log lines dropped: {dropped - self._reported}"))
            self._reported = dropped
        self._write(self._line(*line))

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
        following, self.next_file = self.next_file, None
        if following is not None:
            self.close()
            self._path, self._descriptor = following
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


def open_target(path: Optional[str]) -> int:
    """Return a descriptor for `Logs.switch`; raise `UsageError` where `path` can't be opened."""
    return STANDARD_ERROR if path is None else _open(path)


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
