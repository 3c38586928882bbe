"""Lab hosts for acceptance: the lab's command, what an operator types there, and how a programme runs on them.

The lab is a command that boots bare systemd hosts and takes network and power from them. Where there is none, or this
is not root, a programme says so and ends with status 0. Standard library only. Packs this checkout, and the packed
file is all that a host gets. A lab that is up already is left alone (skipped); what this starts, it takes down.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RAFTCTL = "python3 /opt/raftctl.pyz"
ETC = "/etc/raftctl/"
HOSTS = ("h1", "h2", "h3")
PORT = 8089
BOOT_LIMIT_S = 600
COMMAND_LIMIT_S = 60
SETTLE_LIMIT_S = 15


class Failed(Exception):
    """An expectation that did not hold; the text is for people."""


class Skipped(Exception):
    """Nothing can be tried here; the text is the reason."""


class Lab:
    """The lab command, and what an operator types on its hosts."""

    def __init__(self, command, folder):
        self.command = command
        self.folder = folder

    def __call__(self, *words, limit_s=COMMAND_LIMIT_S, check=True):
        """Run a command of the lab; return its result."""
        try:
            done = subprocess.run([*self.command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"lab {' '.join(words)}: no end within {limit_s} s") from None
        if check and done.returncode:
            raise Failed(f"lab {' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def run(self, host, line, *, status=0, quiet=False):
        """Run a shell line on a host; return its standard output. `status`: one, several, or None: any will do."""
        done = self("run", host, "--", "sh", "-c", line, check=False)
        if not quiet:
            said = (done.stdout + done.stderr).strip().replace("\n", "\n        ")
            print(f"    {host}# {line}" + (f"\n        {said}" if said else ""), flush=True)
        if status is not None and done.returncode not in (status if isinstance(status, tuple) else (status,)):
            raise Failed(f"{host}: {line}: status {done.returncode}, expected {status}: {done.stdout}{done.stderr}")
        return done.stdout

    def write(self, host, name, text, mode=0o644):
        """Put a file into /etc/raftctl of a host."""
        here = os.path.join(self.folder, name)
        with open(here, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(here, mode)
        self("push", here, f"{host}:{ETC}{name}")
        self.run(host, f"chmod {mode:o} {ETC}{name}", quiet=True)

    def provide(self, host):
        """Copy the packed file to a host, and nothing else."""
        self.run(host, "mkdir -p /opt /etc/raftctl", quiet=True)
        self("push", os.path.join(self.folder, "raftctl.pyz"), f"{host}:/opt/")

    def state(self, host, options=""):
        """Return the state that the host's node says, or "-" where no daemon answers."""
        said = self.run(host, f"{RAFTCTL} {options} state", status=None, quiet=True).strip()
        if not said:
            return "-"
        try:
            state = json.loads(said)["state"]
        except (ValueError, KeyError, TypeError):
            raise Failed(f"{host}: state prints {said!r}") from None
        expect(said == f'{{ "state": "{state}" }}', f"{host}: state prints {said!r}, not in the documented form")
        return state


def expect(holds, otherwise):
    if not holds:
        raise Failed(otherwise)


def wait_for(what, condition, limit_s=SETTLE_LIMIT_S):
    """Return what `condition` returns as soon as it is true; it is not within the limit: failed."""
    end = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < end, f"not within {limit_s} s: {what}")
        time.sleep(0.2)


def only_leader(lab, hosts):
    """Return the leading host, or None where not exactly one leads and all others follow."""
    states = {host: lab.state(host) for host in hosts}
    if sorted(states.values()) != ["FOLLOWER"] * (len(hosts) - 1) + ["LEADER"]:
        return None
    return max(hosts, key=states.get)


def power_loss(lab, *hosts):
    lab("kill", *hosts)
    lab("boot", *hosts, limit_s=BOOT_LIMIT_S)


def install(lab, host, files):
    lab.provide(host)
    for name, (text, mode) in files.items():
        lab.write(host, name, text, mode)
    lab.run(host, f"{RAFTCTL} svcinstall --now")


def addresses(lab):
    """Return the addresses of the hosts, as the lab's own list says."""
    rows = [line.split() for line in lab("status").stdout.splitlines()]
    found = {row[0]: row[1] for row in rows if len(row) > 1}
    return [f"tcp://{found[host]}:{PORT}" for host in HOSTS]


def find_lab(given):
    """Return the lab's command as words, or raise why nothing can be tried."""
    if not given:
        raise Skipped("no lab; name its command, or set RAFTCTL_LAB")
    command = shlex.split(given)
    if not command or shutil.which(command[0]) is None:
        raise Skipped(f"no lab: {given} is no command")
    if os.geteuid() != 0:
        raise Skipped("the lab needs root")
    return [shutil.which(command[0]), *command[1:]]


def on_hosts(lab, release, act):
    """Boot the hosts, call `act(lab)`, and take them down."""
    present = [line.split()[0] for line in lab("status", check=False).stdout.splitlines() if line.startswith("h")]
    if present:
        raise Skipped(f"a lab is up ({' '.join(present)}); lab down first")
    deps = lab("deps", check=False, limit_s=BOOT_LIMIT_S)
    if deps.returncode:
        raise Skipped(f"the lab can't be used here: {(deps.stderr or deps.stdout).strip()}")
    pack = [sys.executable, os.path.join(TOP, "raftctl.py"), "pack", "-o", os.path.join(lab.folder, "raftctl.pyz")]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=lab.folder,
                   env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    try:
        lab("up", str(len(HOSTS)), *(["--release", release] if release else []), limit_s=BOOT_LIMIT_S)
        act(lab)
    finally:
        lab("down", check=False)


def programme(name, parser, arguments, act):
    """Run `act(lab, options)` on fresh hosts; return the exit status. `parser` may have options of its own."""
    parser.add_argument("lab", nargs="?", default=os.environ.get("RAFTCTL_LAB"), help="the lab's command")
    parser.add_argument("--release",
                        help="the hosts' system, where the lab has several: decides the version of Python")
    options = parser.parse_args(arguments)
    # As Ctrl-C: the hosts are taken down on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="raftctl-lab-")
    try:
        on_hosts(Lab(find_lab(options.lab), folder), options.release, lambda lab: act(lab, options))
    except Skipped as reason:
        print(f"{name}: skipped: {reason}")
        return 0
    except Failed as failure:
        print(f"{name}: FAILED: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}: passed")
    return 0
