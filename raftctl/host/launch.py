"""Becomes a hook: looks at the script, refuses it or executes it. Runs in the hook's own process, never in the guardian.

A look at a script can hang with its file system (a dead NFS server), so the guardian must not take one. It starts
`python -I -S -c <this source> …`, hence no import of ours here, and few at all. Arguments: interpreter for `.py`,
script, its arguments. Exit status: 126 refused or not executable, 127 not found, as sh.
"""

import os
import stat
import sys

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_FIRST_LINE_LIMIT = 256
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def refusal(path, user):
    """Return why root must not run `path`, "" where it may: others could have written it, or put it there.

    Looked at are the file, every folder on the way to it, and every symbolic link on that way with its folders. A
    sticky folder (/tmp) is fine if what is in it on that way belongs to root or `user`.
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
        elif found.st_mode & _OTHERS_WRITE and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            return "%s can be written by others (mode %04o)" % (place, stat.S_IMODE(found.st_mode))
        if os.path.dirname(place) != place:
            waiting.append(os.path.dirname(place))
    return ""


def command(python, script, arguments):
    """Return the argv that runs `script`: by its ending, as it is, or by its #! line; raise ValueError for none."""
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


def launch(python, script, arguments):
    """Execute the hook; return the exit status where that is not possible, with the reason on standard error."""
    try:
        # A folder on the way may be a link followed by "..", so the real path is looked at as well.
        why = ""
        if os.geteuid() == 0:
            why = refusal(script, os.getuid()) or refusal(os.path.realpath(script), os.getuid())
        if why:
            complaint, status = "not run as root: %s; chown it to root and chmod go-w it" % why, NOT_EXECUTABLE
        else:
            argv = command(python, script, arguments)
            complaint, status = argv[0] + ": ", NOT_EXECUTABLE
            os.execvp(argv[0], argv)
    except FileNotFoundError as error:
        complaint, status = "%s does not exist" % (error.filename or argv[0]), NOT_FOUND
    except ValueError as error:
        complaint, status = str(error), NOT_EXECUTABLE
    except OSError as error:
        complaint, status = "%s: %s" % (error.filename or script, os.strerror(error.errno).lower()), NOT_EXECUTABLE
    sys.stderr.write("%s: %s\n" % (script, complaint))
    return status


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1], sys.argv[2], sys.argv[3:]))
