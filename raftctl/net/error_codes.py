"""Error codes of the command protocol: ONE table for server, command line and raftctl-protocol.7.

An error reply is `{"id": …, "ok": false, "error": {"code": …, "message": …, "hint": …, …}}`.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple

from raftctl.base import errors


class Code(NamedTuple):
    """What the command line returns for a code, and the hint where the error brings none of its own."""

    exit_status: int
    hint: str


CODES: Dict[str, Code] = {
    "not_found": Code(errors.NO, ""),
    "compare_failed": Code(errors.NO, "read the key again and decide anew"),
    "refused": Code(errors.NO, ""),
    "bad_request": Code(errors.USAGE, "see raftctl-protocol(7)"),
    "unknown_action": Code(errors.USAGE,
                           "see raftctl-protocol(7); the daemon may be older than this command"),
    "too_large": Code(errors.USAGE, "keys take 1 KiB, values 256 KiB, lines 1 MiB"),
    "no_leader": Code(errors.NO_LEADER, "raftctl status says who is missing"),
    "not_initialized": Code(errors.NO_LEADER, "raftctl status says what the node waits for"),
    "timeout": Code(errors.NO_LEADER, "nothing was changed; raftctl status says who is missing"),
    "busy": Code(errors.NO_LEADER, "nothing was changed; try again"),
    "store_full": Code(errors.NO_LEADER, "free space in its data directory; the log of that node names it"),
    "stopping": Code(errors.NO_LEADER, "ask another node"),
    "unknown_outcome": Code(errors.UNKNOWN, "it may or may not have been done; read before you repeat it"),
    "not_allowed": Code(errors.NOT_ALLOWED,
                        "use the unix socket as root or in group raftctl, or the secret over TCP"),
    "internal": Code(errors.FAULT, "this is a fault of raftctl; see the log of the node"),
}


class CommandError(errors.RaftctlError):
    """An error reply: raised by `answer` on the server, and by the command line from what came back.

    `code` is a key of `CODES`; `hint` defaults to the table's; `fields` join the "error" object
    (`revision=7`).
    """

    def __init__(self, code: str, message: str, hint: str = "", **fields: Any) -> None:
        errors.require(code in CODES, "error code without a row in CODES", code)
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint or CODES[code].hint
        self.fields = fields
        self.exit_status = CODES[code].exit_status

    def as_object(self) -> Dict[str, Any]:
        """Return the "error" object of the reply."""
        found = {"code": self.code, "message": self.message, "hint": self.hint}
        found.update(self.fields)
        return found


def from_reply(reply: Dict[str, Any]) -> CommandError:
    """Return the error of a reply whose "ok" is false; a code unknown to this release counts as "refused"."""
    found = reply.get("error")
    found = dict(found) if isinstance(found, dict) else {}
    code = found.pop("code", "refused")
    message = str(found.pop("message", "the daemon refused without a reason"))
    hint = str(found.pop("hint", ""))
    known = isinstance(code, str) and code in CODES
    return CommandError(code if known else "refused", message, hint, **found)


# Errors of other layers that `answer` may let through.
_BY_STATUS = {
    errors.USAGE: "bad_request",
    errors.NO_LEADER: "no_leader",
    errors.UNKNOWN: "unknown_outcome",
    errors.NOT_ALLOWED: "not_allowed",
}


def from_error(error: errors.RaftctlError) -> CommandError:
    """Return `error` as an error reply, by its exit status."""
    if isinstance(error, CommandError):
        return error
    return CommandError(_BY_STATUS.get(error.exit_status, "refused"), str(error))
