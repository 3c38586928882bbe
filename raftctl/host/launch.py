"""Becomes a hook: looks at the script, refuses or executes it. In the hook's own process, never the guardian.

A look at a script can hang with its file system (a dead NFS server), so the guardian must not take one. It
starts `python -I -S -c <this source> …`, hence no import of ours here, and few at all. Arguments: file and
text of a note that must be on disk before the hook runs ("", "": none), interpreter for `.py`, script, its
arguments. Exit status: 126 refused or not executable, or the note could not be written, 127 not found, as sh.
"""

import os
import signal
import stat
import sys

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_FIRST_LINE_LIMIT = 256


def others_write(found):
    """Does the mode let anybody but the owner and the group root write?"""
    return bool(found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != 0))


def refusal(path, user):
    """Return why root must not run `path`, "" where it may: others could have written it, or put it there.

    Looked at are the file, every folder on the way to it, and every symbolic link on that way with its
    folders. A sticky folder (/tmp) is fine if what is in it on that way belongs to root or `user`.
    """
    trusted = (0, user)
    waiting = [os.path.abspath(path)]
    seen = set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        found = os.lstat(place)
        if found.st_uid not in trusted:
            return "%s belongs to user %d" % (place, found.st_uid)
        if stat.S_ISLNK(found.st_mode):
            waiting.append(os.path.join(os.path.dirname(place), os.readlink(place)))
        elif others_write(found) and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            return "%s can be written by others (mode %04o)" % (place, stat.S_IMODE(found.st_mode))
        if os.path.dirname(place) != place:
            waiting.append(os.path.dirname(place))
    return ""


def command(python, script, arguments):
    """Return the argv that runs `script`: by its ending, as it is, or by its #! line; ValueError for none."""
    ending = os.path.splitext(script)[1]
    if ending == ".py":
        return [python, script] + arguments
    if ending == ".js":
        return ["node", script] + arguments
    if os.access(script, os.X_OK) and not os.path.isdir(script):
        return [script] + arguments
    with open(script, "rb") as file:
        first = file.readline(_FIRST_LINE_LIMIT)
    # One argument at most, as the kernel does it.
    words = os.fsdecode(first[2:].strip()).split(None, 1) if first[:2] == b"#!" else []
    if not words:
        raise ValueError("it is not executable and has no #! line; chmod +x it")
    return words + [script] + arguments


def become(argv):
    """Execute `argv` with default signals; raise OSError where that fails."""
    # Python ignores these in itself, and an ignored signal stays so across exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(argv[0], argv)


def note(path, text):
    """Write `text` to `path`, synced, whole or not at all (P6: `outgoing` before a leader hook).

    A second line names this process, which leads its group, and when it began (proc(5)), for who ends it.
    """
    with open("/proc/self/stat", "rb") as file:
        begun = file.read().rpartition(b")")[2].split()[19].decode("ascii")
    text += "\n%d %s\n" % (os.getpid(), begun)
    part = path + ".new"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(part, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def launch(path, text, python, script, arguments):
    """Become the hook; return the exit status where that is impossible, with the reason on standard error."""
    complaint, status = "", NOT_EXECUTABLE
    try:
        if path:
            note(path, text)
    except OSError as error:
        sys.stderr.write("%s: %s; not run\n" % (path, os.strerror(error.errno).lower()))
        return status
    try:
        # A folder on the way may be a link followed by "..", so the real path is looked at as well.
        if os.geteuid() == 0:
            why = refusal(script, os.getuid()) or refusal(os.path.realpath(script), os.getuid())
            complaint = why and "not run as root: %s; chown it to root and chmod go-w it" % why
        if not complaint:
            become(command(python, script, arguments))
    except FileNotFoundError as error:
        lacking = "it" if error.filename else "its interpreter"
        complaint, status = "%s does not exist" % lacking, NOT_FOUND
    except ValueError as error:
        complaint = str(error)
    except OSError as error:
        complaint = "%s: %s" % (error.filename or "exec", os.strerror(error.errno).lower())
    sys.stderr.write("%s: %s\n" % (script, complaint))
    return status


if __name__ == "__main__":
    sys.exit(launch(*sys.argv[1:5], sys.argv[5:]))
