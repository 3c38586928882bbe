"""`start --local 3` as a new user runs it: table, commands to paste, takeover, nothing left (item 6)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading

import pytest
from cluster import PATIENCE_S, PROGRAM, has_ended, wait_for


class Local:
    def __init__(self, folder, *words):
        self.lines = []
        self.process = subprocess.Popen([*PROGRAM, "start", "--local", *words], cwd=folder, text=True,
                                        bufsize=1, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.lines)

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        self.process.stdout.close()
        return status


def run(command, folder):
    return subprocess.run(shlex.split(command), cwd=folder, capture_output=True, timeout=PATIENCE_S,
                          check=False)


def test_local_three_prints_what_to_paste_takes_over_and_leaves_nothing(tmp_path):
    local = Local(tmp_path, "3")
    try:
        pasted = wait_for(lambda: re.findall(r"^\s*(\S.* -c \S+ .*)$", local.text, re.M), "the commands")
        assert len(pasted) == 3
        wait_for(lambda: "is LEADER" in local.text, "the first leader")
        config = re.search(r"-c (\S+)", pasted[0]).group(1)
        base = [*map(shlex.quote, PROGRAM), "-c", config]

        def states():
            return {name: run(" ".join([*base, "state", "--node", name, "--json"]), tmp_path).stdout
                    for name in ("n1", "n2", "n3")}

        leader = wait_for(lambda: next((name for name, out in states().items() if b'"LEADER"' in out), None),
                          "a leader")
        put, get = (next(command for command in pasted if f" {word} " in command) for word in ("put", "get"))
        assert run(put, tmp_path).returncode == 0
        assert run(get, tmp_path).returncode == 0
        pid = int(re.search(rb'"pid": (\d+)', states()[leader]).group(1))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: any(b'"LEADER"' in out for name, out in states().items()
                             if int(re.search(rb'"pid": (\d+)|$', out).group(1) or 0) != pid),
                 "another leader")
    finally:
        status = local.end()
    assert status in (0, 130)
    assert not os.path.exists(os.path.dirname(config))
    assert has_ended(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_leaves_nothing_behind(tmp_path, number):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = dict(os.environ, TMPDIR=str(temporary))
    process = subprocess.Popen([*PROGRAM, "start", "--local", "3"], env=before, cwd=tmp_path,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: list(temporary.iterdir()), "its folder")
    process.send_signal(number)
    process.wait(PATIENCE_S)
    assert list(temporary.iterdir()) == []
