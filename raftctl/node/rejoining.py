"""Whom a running node may be told to join (design §6)."""

from __future__ import annotations

from raftctl.base import errors
from raftctl.base.addresses import Address, parse
from raftctl.config.nodes import refuse_join
from raftctl.net.error_codes import CommandError


def parse_target(text: str, own: str) -> Address:
    """Return the address that the node at `own` is to join; raise `CommandError` where it can't."""
    try:
        target = parse(text)
        refuse_join(target, parse(own), has_list=False, name="join")
    except errors.UsageError as error:
        raise CommandError("bad_request", str(error), hint="nothing was changed") from error
    return target
