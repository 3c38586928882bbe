"""A node without Raft: speaks the tether protocol as the test tells it, line by line, over a unix socket.

Started by the guardian under test as
`fake_node.py SOCKET -c PATH node --node ADDRESS --tether-fd N --board-fd N`.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys

from raftctl import tether
from raftctl.base import clock
from raftctl.base.instants import Instant


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("control")
    parser.add_argument("-c")
    parser.add_argument("command")
    parser.add_argument("--node")
    parser.add_argument("--tether-fd", type=int)
    parser.add_argument("--board-fd", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(socket.AF_UNIX)
    control.connect(options.control)
    guardian = socket.socket(fileno=options.tether_fd)
    board = tether.Board.attach(options.board_fd)
    control.sendall(json.dumps({"address": options.node, "pid": os.getpid()}).encode() + b"\n")
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(guardian, selectors.EVENT_READ)
    orders, words, is_deaf = control.makefile("r"), tether.Line(), False
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                order = json.loads(orders.readline() or '{"do": "exit", "status": 70}')
                is_deaf = is_deaf or order["do"] in ("deafen", "close")
                obey(order, guardian, board, control)
            else:
                data = guardian.recv(65536)
                heard = [message["kind"] for message in words.receive(data)] if data else ["end"]
                if "ping" in heard and not is_deaf:
                    guardian.sendall(tether.encode({"kind": "pong"}))
                control.sendall("".join(json.dumps({"heard": kind}) + "\n" for kind in heard).encode())
                if not data:
                    os._exit(70)


def obey(order: dict, guardian: socket.socket, board: tether.Board, control: socket.socket) -> None:
    what = order["do"]
    if what == "tell":
        guardian.sendall(tether.encode(order["message"]))
    elif what == "raw":
        guardian.sendall(order["text"].encode())
    elif what == "publish":
        end = clock.now().plus(int(order["lease_s"] * 1e9)) if order["lease_s"] else Instant(0, 0)
        board.publish(tether.BoardState(order["incarnation"], order["term"], order["leading"], end))
    elif what == "close":
        guardian.shutdown(socket.SHUT_WR)
    elif what == "exit":
        os._exit(order["status"])
    control.sendall(b'{"obeyed": true}\n')


if __name__ == "__main__":
    sys.exit(main())
