"""What both ends of the command protocol must agree on: limits, what needs no permission, the secret's proof.

One JSON object a line in, one out (raftctl-protocol(7)). Light: every command line imports it.
"""

from __future__ import annotations

import os
import socket

from raftctl.net import digest

LINE_LIMIT = 1024 * 1024
# What a client takes: there is no answer of ours so long.
REPLY_LIMIT = 8 * LINE_LIMIT
# The longest line of somebody who may change nothing, and the longest lone object without a newline.
STRANGER_LIMIT = 4096
NONCE_SIZE = 16

# Actions that anybody may ask for (pitfall 11.1: nothing of the store among them).
OPEN_ACTIONS = frozenset(("state", "status", "wait", "version", "challenge", "authenticate"))

# What a client may ask again: it changes nothing.
READING_ACTIONS = OPEN_ACTIONS | {"get", "history"}


def command_proof(secret: bytes, nonce: str) -> str:
    """Return the "proof" of `authenticate`: HMAC-SHA-256 under `secret` of the challenge, in hex."""
    return digest.digest(secret, b"raftctl command " + nonce.encode("ascii")).hex()


def connect_unix(sock: socket.socket, path: str) -> None:
    """Connect to a unix socket whose path may be longer than the 107 bytes of sockaddr_un."""
    parent, name = os.path.split(os.path.abspath(path))
    folder = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)
