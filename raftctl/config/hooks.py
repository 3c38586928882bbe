"""The `events` of the file: which event runs what. Owns the event names; the hooks are run by `host/`."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from raftctl.base import durations
from raftctl.base.errors import UsageError
from raftctl.config import values
from raftctl.config.model import Hook
from raftctl.config.spelling import fold, nearest, shown

EVENTS = ("leader", "follower", "start", "stop")
TIMEOUT_NS = 30 * durations.SECOND
_ALIASES = {"initialize": "start", "end": "stop"}
_EACH_PACKET = ("heartbeat", "data", "vote", "rpc", "append", "commit")
_NAMES = {fold(name): name for name in EVENTS}
_NAMES.update({fold(name): event for name, event in _ALIASES.items()})
_EXAMPLE = '{"leader": "/etc/raftctl/leader.sh"}'

_timeout = values.span(10 * durations.MILLISECOND, durations.DAY)


def parse_events(value: Any) -> Tuple[Tuple[str, Hook], ...]:
    """Return (event, hook) in the order of `EVENTS`; the path of each script is still as written."""
    if not isinstance(value, dict):
        raise UsageError(f"{shown(value)} is no object; write {_EXAMPLE}")
    found: Dict[str, Hook] = {}
    written: Dict[str, str] = {}
    for name, spec in value.items():
        event = event_named(name)
        if event in found:
            raise UsageError(f'"{written[event]}" and "{name}" are the same event; remove one')
        written[event] = name
        try:
            found[event] = _hook(spec)
        except UsageError as error:
            raise UsageError(f'"{name}": {error}') from None
    return tuple((event, found[event]) for event in EVENTS if event in found)


def event_named(name: str) -> str:
    """Return the event that `name` spells, in any of its forms; raise `UsageError` for none."""
    event = _NAMES.get(fold(name))
    if event is not None:
        return event
    known = ", ".join(EVENTS)
    if fold(name) in _EACH_PACKET:
        raise UsageError(
            f'"{name}" would run a script for each packet, which raftctl does not; events are {known}'
        )
    meant = nearest(name, EVENTS)
    hint = f'did you mean "{meant}"?' if meant else f"events are {known}"
    raise UsageError(f'"{name}" is no event; {hint}')


def _hook(spec: Any) -> Hook:
    found = read_script(spec, "hook", "/etc/raftctl/leader.sh", {"timeout": _timeout, "retry": _retry})
    return Hook(found["run"], found.get("timeout", TIMEOUT_NS), found.get("retry", 0))


def read_script(spec: Any, what: str, example: str, parsers: Mapping[str, Callable[[Any], Any]]
                ) -> Dict[str, Any]:
    """Return "run" (the argv) and what else `spec` says: a path, a list, or an object with `parsers`' keys.

    `what` is what people call it, `example` a path of one.
    """
    if not isinstance(spec, dict):
        return {"run": _argv(spec, example)}
    known = {"run": lambda value: _argv(value, example), **parsers}
    found: Dict[str, Any] = {}
    for name, value in spec.items():
        key = fold(name)
        if key not in known:
            meant = nearest(name, known)
            hint = f'did you mean "{meant}"?' if meant else f"keys are {', '.join(known)}"
            raise UsageError(f'"{name}" is not a key of a {what}; {hint}')
        try:
            found[key] = known[key](value)
        except UsageError as error:
            raise UsageError(f'"{name}": {error}') from None
    if "run" not in found:
        raise UsageError(f'"run" is missing; write {{"run": "{example}"}}')
    return found


def _argv(value: Any, path: str) -> Tuple[str, ...]:
    if isinstance(value, str):
        return (values.path(value),)
    example = f'["{path}", "argument"]'
    if not isinstance(value, list) or not value:
        raise UsageError(f"{shown(value)} is no script; write its path, or {example}")
    argv: List[str] = [values.path(value[0])]
    for argument in value[1:]:
        if not isinstance(argument, str):
            raise UsageError(f"argument {shown(argument)} is no text; write {example}")
        argv.append(argument)
    return tuple(argv)


def _retry(value: Any) -> int:
    count = values.number(value, 3)
    if not 0 <= count <= 100:
        raise UsageError(f"{count} is out of range; use 0 to 100")
    return count
