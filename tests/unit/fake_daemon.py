"""A command port that answers what a test tells it. Bound to port 0 of 127.0.0.1."""

from __future__ import annotations

import json
import socketserver
import threading

from raftctl.cli.main import main


def ask_daemon(folder, capture, daemon, *arguments):
    """Run a command line against `daemon`, configured in `folder`; return exit status, output and errors."""
    with daemon:
        status = main(["-c", daemon.config(folder), *arguments])
    return (status, *capture.readouterr())


class FakeDaemon:
    """`answers` maps an action to a reply, or to a list of replies, of which the last one stays.

    A reply without "ok" is a success; {"code": …} an error; None closes the connection unanswered.
    `requests` is what came in. Use as a context manager.
    """

    def __init__(self, **answers):
        self.answers = answers
        self.requests = []
        daemon = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    reply = daemon.reply(json.loads(line))
                    if reply is None:
                        return
                    self.wfile.write(json.dumps(reply).encode() + b"\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port = self._server.server_address[1]

    def reply(self, request):
        self.requests.append(request)
        found = self.answers[request["action"]]
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if found is None:
            return None
        if "code" in found:
            found = {"ok": False, "error": {"message": f"{found['code']}!", "hint": "", **found}}
        return {"ok": True, **found, **({"id": request["id"]} if "id" in request else {})}

    def config(self, folder):
        """Write a configuration of which this is the command port, and return its path as text."""
        path = folder / "node.json"
        path.write_text(
            json.dumps(
                {
                    "address": "tcp://127.0.0.1:8089",
                    "command_port": self.port,
                    "dataDir": str(folder / "data"),
                }
            )
        )
        return str(path)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
