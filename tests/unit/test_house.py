"""The house is a test: who imports whom (design §4), what the pure layers may use, how long things get."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house_sets import walks_over_sets

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "raftctl"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(TOP)) for path in MODULES]

# Layer (folder or module of raftctl/): the layers that it may import, besides itself. All may import version.
MAY_IMPORT = {
    "__init__": [],
    "__main__": ["cli"],
    "version": [],
    "base": [],
    "config": ["base"],
    "raft": ["base"],
    "store": ["base"],
    "cluster": ["base", "raft", "store"],
    "disk": ["base", "raft"],
    "net": ["base", "raft", "cluster"],
    "tether": ["base"],
    "node": ["base", "config", "raft", "store", "cluster", "disk", "net", "tether"],
    # raft: a guardian sends RELEASE, which is a message of raft.
    "host": ["base", "config", "raft", "cluster", "net", "tether"],
    "cli": ["base", "config", "raft", "store", "cluster", "disk", "net", "tether", "host"],
}
# One module more than its layer.
MAY_ALSO_IMPORT = {
    # The hidden command `node` is the child itself.
    "raftctl/cli/child.py": ["node"],
}

PURE = ("raft", "store", "cluster")
PURE_MAY_IMPORT = set(
    "__future__ abc base64 binascii bisect collections contextlib enum functools hashlib heapq hmac "
    "itertools json math operator re string struct types typing zlib".split()
)
# Of base, only what reads no clock, file or environment.
PURE_BASE = {"addresses", "durations", "errors", "instants", "objects"}
# hash: of text and bytes it differs from run to run.
PURE_MUST_NOT_CALL = {"open", "print", "input", "hash", "id", "exec", "eval", "__import__", "globals"}

# What raftctl may use of the standard library: there on 3.9 and still there on 3.13. 3.9 has no
# sys.stdlib_module_names, and the newest has lost some.
STANDARD = set(
    "__future__ abc argparse array ast asyncio atexit base64 binascii bisect builtins bz2 calendar "
    "cmath codecs collections compileall concurrent configparser contextlib contextvars copy "
    "copyreg csv ctypes dataclasses datetime decimal difflib dis email encodings enum errno "
    "faulthandler fcntl filecmp fileinput fnmatch fractions functools gc getpass gettext glob "
    "graphlib grp gzip hashlib heapq hmac html http importlib inspect io ipaddress itertools json "
    "keyword linecache locale logging lzma marshal math mimetypes mmap multiprocessing netrc "
    "numbers operator os pathlib pickle pkgutil platform posix pprint pwd py_compile queue random "
    "re readline reprlib resource runpy sched secrets select selectors shlex shutil signal site "
    "socket socketserver sqlite3 ssl stat statistics string struct subprocess symtable sys "
    "sysconfig syslog tarfile tempfile termios textwrap threading time timeit token tokenize "
    "traceback tracemalloc tty types typing unicodedata unittest urllib uuid venv warnings weakref "
    "xml zipapp zipfile zipimport zlib zoneinfo".split()
)

LINE = 110
# Name: why a line of it may be longer.
LONG_LINES = {}
FUNCTION = 50
MODULE = 400
# Name: why it is one story all the same. An entry that is no longer needed fails the test.
LONG_FUNCTIONS = {}
LONG_MODULES = {}
# Who may import a module by a name that this test can't read.
DYNAMIC = {
    "raftctl/cli/main.py": "imports the chosen command's module only",
}

# `state` is what cron jobs call: each of these costs 6 to 26 ms at its start.
HEAVY = ("asyncio", "dataclasses", "logging", "random", "shutil", "ssl", "subprocess", "tempfile",
         "threading", "uuid")


def tree_of(name):
    return ast.parse((TOP / name).read_text(encoding="utf-8"), name, feature_version=(3, 9))


def layer_of(module):
    """Return the layer of the dotted `module`, "__init__" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(name):
    """Return (line, dotted module) of all imports in the file, also those inside functions."""
    found = []
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A relative import would be one more way to write the same.
            origin = "." * node.level + (node.module or "")
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin == "raftctl" else [origin]
            found += [(node.lineno, dotted) for dotted in names]
    return found


def own_layer(name):
    return name[len("raftctl/"):].split("/")[0].replace(".py", "")


def test_the_table_names_every_layer_there_is():
    assert {own_layer(name) for name in NAMES} == set(MAY_IMPORT)


def test_the_table_goes_down_only():
    order = [layer for layer in MAY_IMPORT if layer not in ("__init__", "__main__")]
    upward = [(layer, other) for layer in order for other in MAY_IMPORT[layer]
              if order.index(other) > order.index(layer)]
    assert upward == []


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_only_layers_below_it(name):
    own = own_layer(name)
    allowed = [own, *MAY_IMPORT[own], *MAY_ALSO_IMPORT.get(name, []), "version", "__init__"]
    wrong = [f"{name}:{line}: {module}" for line, module in imports_of(name)
             if module.split(".")[0] == "raftctl" and layer_of(module) not in allowed]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_only_the_standard_library_is_imported(name):
    wrong = [f"{name}:{line}: {module}" for line, module in imports_of(name)
             if module.split(".")[0] not in STANDARD | {"raftctl"}]
    assert wrong == []


def test_no_module_is_imported_by_a_name_made_at_run_time():
    found = []
    for name in NAMES:
        called = {getattr(node.func, "attr", getattr(node.func, "id", "")) for node in ast.walk(tree_of(name))
                  if isinstance(node, ast.Call)}
        if called & {"import_module", "__import__", "run_module", "run_path"}:
            found.append(name)
    assert found == list(DYNAMIC)


def is_pure(module):
    """May a pure layer import it? Other layers of ours are the import table's business."""
    parts = module.split(".")
    if parts[:2] == ["raftctl", "base"]:
        return len(parts) > 2 and parts[2] in PURE_BASE
    return parts[0] == "raftctl" or parts[0] in PURE_MAY_IMPORT


@pytest.mark.parametrize("name", [name for name in NAMES if own_layer(name) in PURE])
def test_the_pure_layers_have_no_socket_file_thread_clock_or_chance(name):
    imports = [f"{name}:{line}: imports {module}" for line, module in imports_of(name) if not is_pure(module)]
    calls = [f"{name}:{node.lineno}: calls {node.func.id}" for node in ast.walk(tree_of(name))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
             and node.func.id in PURE_MUST_NOT_CALL]
    assert imports + calls == []


def test_what_the_pure_layers_use_of_base_is_pure_as_well():
    wrong = [f"base/{module}: imports {imported}" for module in sorted(PURE_BASE)
             if (PACKAGE / f"base/{module}.py").exists()
             for _, imported in imports_of(f"raftctl/base/{module}.py")
             if imported.split(".")[0] not in PURE_MAY_IMPORT and imported.split(".")[-1] not in PURE_BASE]
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in NAMES if own_layer(name) in PURE])
def test_the_pure_layers_never_walk_a_set(name):
    source = (TOP / name).read_text(encoding="utf-8")
    assert [f"{name}:{line}" for line in walks_over_sets(source)] == []


@pytest.mark.parametrize("source", [
    "for x in {1, 2}: pass",
    "for x in set(names): pass",
    "voters = set(names)\nfor x in voters: pass",
    "def f(voters: FrozenSet[str]):\n    return [x for x in voters]",
    "def f(voters: 'Optional[Set[str]]'):\n    return list(voters)",
    "class C:\n    def __init__(self):\n        self.seen = set()\n"
    "    def f(self):\n        return tuple(self.seen)",
    "class C:\n    seen: Set[str]\n    def f(self):\n        return self.seen.pop()",
    "for x in a.keys() - b.keys(): pass",
    "first = set(a)\nsecond = first | b\nprint(*second)",
    "next(iter(set(a).union(b)))",
    "names = frozenset(a)\n', '.join(names)",
    "{x: 1 for x in frozenset(a)}",
    "sorted(list(set(a)))",
])
def test_a_walk_over_a_set_is_found(source):
    assert walks_over_sets(source) != []


@pytest.mark.parametrize("source", [
    "for x in sorted({1, 2}): pass",
    "for x in [1, 2]: pass",
    "voters = set(names)\nsize = len(voters)\nfine = 'n1' in voters",
    "voters = set(names)\nmost = max(acked[x] for x in voters)",
    "voters = set(names)\nvoters = sorted(voters)\nfor x in voters: pass",
    "any(x.up for x in {1, 2})",
    "for x in dict.keys(): pass",
    "def f(voters: Tuple[str, ...]):\n    return list(voters)",
    "more = {x for x in set(a)}",
    "items = []\nitems.pop()",
])
def test_what_is_no_walk_over_a_set_is_let_pass(source):
    assert walks_over_sets(source) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_what_it_owns(name):
    assert ast.get_docstring(tree_of(name)), f"{name} has no docstring"
    assert "to be written" not in ast.get_docstring(tree_of(name)).lower()


@pytest.mark.parametrize("name", NAMES)
def test_asserts_are_require_because_they_can_be_compiled_away(name):
    assert [node.lineno for node in ast.walk(tree_of(name)) if isinstance(node, ast.Assert)] == []


def test_no_function_is_longer_than_fifty_lines():
    found = {}
    for name in NAMES:
        for node in ast.walk(tree_of(name)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = node.end_lineno - node.lineno + 1
                found.update({f"{name}:{node.name}": size} if size > FUNCTION else {})
    assert {name: size for name, size in found.items() if name not in LONG_FUNCTIONS} == {}
    assert sorted(set(LONG_FUNCTIONS) - set(found)) == [], "no longer an exception"


def test_no_module_is_longer_than_four_hundred_lines():
    found = {name: (TOP / name).read_text(encoding="utf-8").count("\n") for name in NAMES}
    found = {name: size for name, size in found.items() if size > MODULE}
    assert {name: size for name, size in found.items() if name not in LONG_MODULES} == {}
    assert sorted(set(LONG_MODULES) - set(found)) == [], "no longer an exception"


def test_no_line_is_longer_than_the_editor():
    wrong = [f"{name}:{number}: {len(line)}" for name in NAMES if name not in LONG_LINES
             for number, line in enumerate((TOP / name).read_text(encoding="utf-8").splitlines(), 1)
             if len(line) > LINE]
    assert wrong == []


def test_an_installation_gets_every_package():
    # No tomllib before 3.11.
    text = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'"(raftctl[.\w]*)"', text.split("packages = [")[1].split("]")[0]))
    there = {".".join(path.parent.relative_to(TOP).parts) for path in MODULES}
    assert listed == there | {"raftctl.units", "raftctl.man"}


def run_python(code, *flags):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    code = f"import sys; sys.path.insert(0, {str(TOP)!r})\n{code}"
    return subprocess.run([sys.executable, *flags, "-c", code], text=True, capture_output=True,
                          env=environment, timeout=60, check=False)


def test_every_module_can_be_imported_on_this_python():
    dotted = [name[:-3].replace("/", ".") for name in NAMES if not name.endswith("__main__.py")]
    code = f"import importlib\nfor name in {dotted!r}: importlib.import_module(name)"
    done = run_python(code, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")


def test_state_imports_nothing_heavy():
    # -S: what site imports for the venv's sake is not ours.
    done = run_python(
        "from raftctl.cli.parser import build\nimport raftctl.cli.main, raftctl.cli.state\n"
        "build('state')[0].parse_args(['state', 'localhost', '1'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])", "-S")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("module", ["raftctl.cli.start", "raftctl.cli.child"])
def test_a_daemon_without_a_secret_loads_neither_openssl_nor_pickle(module):
    """Guardian and node live for months on small hosts; `digest.prepare` loads what a secret needs."""
    done = run_python(f"import raftctl.cli.main, {module}\n"
                      "print([name for name in ('_hashlib', 'pickle', 'random', 'secrets', 'ssl') "
                      "if name in sys.modules])", "-S")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_node_loads_no_parser_of_command_lines():
    done = run_python("import raftctl.cli.main, raftctl.cli.child\n"
                      "print([name for name in ('argparse', 'gettext', 'raftctl.cli.commands') "
                      "if name in sys.modules])", "-S")
    assert (done.stdout, done.stderr) == ("[]\n", "")
