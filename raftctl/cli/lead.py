"""`transfer`, `drain`, `undrain`: who leads, by the operator's word (P6)."""

from __future__ import annotations

import argparse
from typing import Any, Dict

from raftctl.base.errors import DONE
from raftctl.cli import endpoint, output


def transfer(options: argparse.Namespace) -> int:
    """Hand leadership over to NAME, or to the best; print who leads then."""
    request: Dict[str, Any] = {"action": "transfer"}
    if options.name:
        request["to"] = options.name
    answer = endpoint.ask(options, request)
    _show(options, answer, f"{answer['leader']} leads")
    return DONE


def drain(options: argparse.Namespace) -> int:
    """Drain this node."""
    answer = endpoint.ask(options, {"action": "drain"})
    if answer.get("problem"):
        output.complain(f"drained, but it leads on as caretaker, without hooks: {answer['problem']}")
    _show(options, answer, "drained")
    return DONE


def undrain(options: argparse.Namespace) -> int:
    """Let this node lead again."""
    _show(options, endpoint.ask(options, {"action": "undrain"}), "not drained")
    return DONE


def _show(options: argparse.Namespace, answer: Dict[str, Any], line: str) -> None:
    if options.json:
        output.show_json(answer)
    else:
        output.line(line)
