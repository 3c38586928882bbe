"""README and manual pages say what the tables of the code say: keys, commands, actions, codes, events.

What stands in a page is read off its mdoc source: `.It Cm election min` begins the entry of that key.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from raftctl.cli.commands import COMMANDS, CONFIG, NODE
from raftctl.config import hooks as events
from raftctl.config.keys import KEYS
from raftctl.config.load import load
from raftctl.host import hooks
from raftctl.net import protocol
from raftctl.net.error_codes import CODES
from raftctl.node import requests

TOP = Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")
PAGES = ("raftctl.1", "raftctl.json.5", "raftctl-hooks.7", "raftctl-protocol.7")
LINE = 110
MANDOC_LIMIT_S = 60
VISIBLE = {name: command for name, command in COMMANDS.items() if command.summary}
EVERYWHERE = ("-c", "--config", "--node", "--help")


def page(name):
    return (TOP / "man" / name).read_text(encoding="utf-8")


def section(name, title):
    """Return the source of a section (`.Sh`) or subsection (`.Ss`) of a page."""
    found = re.search(rf"^\.(S[hs]) {title}\n(.*?)(?=^\.S[hs] |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no section {title}"
    return found.group(2)


def items(source, macro):
    """Return the words of all `.It macro words` in a source, without the macros behind them."""
    return [words.strip('"') for words in re.findall(rf"^\.It {macro} (.+)$", source, re.MULTILINE)]


def entry_of(command):
    """Return what raftctl(1) says in all entries of one command."""
    # `.It Ic name`, or over several lines `.It Xo`, `.Ic name`.
    source = re.sub(r"^\.It Xo\n\.Ic ", ".It Ic ", section("raftctl.1", "Commands"), flags=re.MULTILINE)
    source = source.split("\n.Pp\nOptions that several commands have:")[0]
    parts = re.split(r"^\.It Ic ", source, flags=re.MULTILINE)[1:]
    return "".join(part for part in parts if part.split()[0] == command)


def options_of(source):
    """Return the options that a source names, as they are typed."""
    return {f"-{option}" for option in re.findall(r"\bFl (-?[a-z][a-z-]*)", source)}


def literals(source):
    """Return the text of each `.Bd -literal` display, as a reader sees it."""
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", source, re.MULTILINE | re.DOTALL)
    return [text.replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\e", "\\") for text in found]


def load_text(text, folder):
    path = folder / "config.json"
    path.write_text(text, encoding="utf-8")
    return load(str(path), environ={"HOME": str(folder)}, as_root=True,
                can_bind=lambda host: None if host == "h1" else "not here")


# --- the tables


def test_the_page_of_the_configuration_names_every_key_and_no_other():
    assert sorted(items(section("raftctl.json.5", "KEYS"), "Cm")) == sorted(key.name for key in KEYS)


def test_the_page_of_the_configuration_says_where_a_key_may_stand():
    said = section("raftctl.json.5", "KEYS").split("\n.Bl ")[0]
    in_nodes, at_top = said.split("stand in the objects of")[0], said.split("stand in the objects of")[1]
    at_top = at_top.split("stand beside")[0]
    for place, words in (("node", in_nodes), ("file", at_top)):
        expected = {key.name for key in KEYS if key.place == place and key.name != "nodes"}
        assert set(re.findall(r"^\.Cm ([\w ]+?)(?: ,)?$", words, re.MULTILINE)) - {"nodes"} == expected


def test_the_page_of_the_configuration_names_the_keys_of_an_event_and_its_names():
    said = section("raftctl.json.5", "EVENTS")
    assert items(said, "Cm") == ["run", "timeout", "retry"]
    assert {*events.EVENTS, *events._ALIASES} <= set(re.findall(r"^\.Cm (\w+)", said, re.MULTILINE))


def test_the_page_of_the_command_names_every_command_and_no_other():
    source = section("raftctl.1", "Commands")
    assert set(re.findall(r"^(?:\.It|\.It Xo\n\.)\s?Ic ([a-z-]+)", source, re.MULTILINE)) == set(VISIBLE)


@pytest.mark.parametrize("name", list(VISIBLE))
def test_the_page_of_the_command_names_the_options_and_arguments_of(name):
    flags = [flags for flags, _ in VISIBLE[name].arguments]
    options = {flag for names in flags for flag in names if flag.startswith("-")}
    assert options_of(entry_of(name)) == options
    for names in flags:
        if not names[0].startswith("-"):
            argument = "command" if names[0] == "topic" else names[0]
            assert re.search(rf"\bAr (?:\w+ )*{argument}\b", entry_of(name))


def test_the_page_of_the_command_names_the_options_of_all_commands():
    source = page("raftctl.1").split(".Ss Commands")[0]
    assert {*CONFIG[0], *NODE[0], "-v", "--version"} <= options_of(source)


@pytest.mark.parametrize("name", list(VISIBLE))
def test_the_readme_has_a_row_for(name):
    assert re.search(rf"^\|[^|]*`{name}[ `\[]", README, re.MULTILINE)


def test_the_readme_names_no_command_and_no_option_that_is_not_there():
    words = re.findall(r"`(?:raftctl )?([a-z][a-z-]+)(?: [^`]*)?` \|", README)
    assert set(re.findall(r"^\| `([a-z-]+)", README, re.MULTILINE)) | set(words) <= set(VISIBLE)
    known = {flag for command in VISIBLE.values() for flags, _ in command.arguments for flag in flags}
    # `tests/run` and `kill` are others' options.
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known | {"--config", "--node"}


def test_the_page_of_the_protocol_names_every_action_and_no_other():
    proving = {"challenge", "authenticate"}
    assert proving <= protocol.OPEN_ACTIONS
    named = items(section("raftctl-protocol.7", "WHAT TO ASK"), "Ic")
    assert sorted(named) == sorted({*requests._ACTIONS, *proving})


def test_the_page_of_the_protocol_names_every_code_with_its_exit_status_and_no_other():
    said = dict(entry.split(" Pq ") for entry in items(section("raftctl-protocol.7", "ERROR CODES"), "Cm"))
    assert said == {name: str(code.exit_status) for name, code in CODES.items()}


def test_the_page_of_the_protocol_names_the_limits():
    said = page("raftctl-protocol.7")
    assert f"at most {protocol.LINE_LIMIT >> 20} MiB" in said
    assert f"{protocol.STRANGER_LIMIT} bytes for a client" in said
    assert f"from 1 to {requests.LONGEST_TIMEOUT_MS}" in said
    assert f", {requests.DEFAULT_TIMEOUT_MS} if not given" in said


def test_the_page_of_hooks_names_every_event_variable_and_field():
    assert tuple(items(section("raftctl-hooks.7", "Events"), "Cm")) == events.EVENTS
    told = section("raftctl-hooks.7", "What a hook is told")
    rows = re.findall(r"^\.It Ev (\w+) Ta Li (\w+) Ta ", told, re.MULTILINE)
    assert {field: variable for variable, field in rows} == hooks._VARIABLES


def test_help_page_and_readme_say_of_state_is_what_test_cli_state_holds_it_to():
    # 0 and 1 without a word; 3 with one line on standard error, which cron mails.
    told = (" ".join(COMMANDS["state"].details.split()), " ".join(entry_of("state").split()),
            " ".join(README.split("A job that runs on the leader only")[1].split("\n## ")[0].split()))
    for text in told:
        assert "without a word" in text and "on standard error" in text and "othing" not in text


# --- the examples


def test_the_readme_has_the_two_configurations_and_both_load(tmp_path):
    one, cluster = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    single = load_text(one, tmp_path)
    assert [str(node.address) for node in single.nodes] == ["tcp://localhost:8089"]
    assert single.nodes[0].election_min_ns == 200_000_000
    both = load_text(cluster, tmp_path)
    assert [str(node.address) for node in both.nodes] == ["tcp://localhost:8089", "tcp://localhost:8090"]
    assert [node.command_port for node in both.nodes] == [10000, 10001]
    assert both.service_name == "raft-cluster-local"


def test_each_node_of_the_readmes_cluster_file_loads_alone_as_its_workflow_wants(tmp_path):
    _, cluster = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    together = load_text(cluster, tmp_path)
    for node, alone in zip(together.nodes, json.loads(cluster)["nodes"]):
        found = load_text(json.dumps(alone), tmp_path).nodes[0]
        for field in ("address", "command_port", "cluster_nodes", "data_dir", "log_file"):
            assert getattr(found, field) == getattr(node, field)


def test_the_shorter_configurations_of_the_readme_load(tmp_path):
    shorter = re.findall(r"`(\{\"address\".*?\})`", README)
    shorter += re.findall(r"echo '(\{.*\})' > config\.json", README)
    assert len(shorter) == 2
    for text in shorter:
        (tmp_path / "secret").write_text("x" * 32)
        os.chmod(tmp_path / "secret", 0o600)
        load_text(text, tmp_path)


def test_the_examples_of_the_page_of_the_configuration_load(tmp_path):
    (tmp_path / "secret").write_text("x" * 32)
    os.chmod(tmp_path / "secret", 0o600)
    examples = literals(section("raftctl.json.5", "EXAMPLES"))
    assert len(examples) == 4
    for text in examples:
        load_text(text, tmp_path)


def test_the_script_of_the_readme_is_that_of_the_page_of_hooks():
    displays = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    in_readme = next(text for text in displays if text.startswith("#!"))
    in_page = next(text for text in literals(page("raftctl-hooks.7")) if text.startswith("#!"))
    assert in_page.split() == in_readme.split()
    # -n: read it, run nothing.
    assert subprocess.run(["sh", "-n"], input=in_readme, text=True, timeout=60, check=False).returncode == 0


# --- the form


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing_wrong_in(name):
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("mandoc is not installed; on Debian: apt-get install mandoc")
    command = [mandoc, "-T", "lint", str(TOP / "man" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MANDOC_LIMIT_S, check=False)
    # The pages refer to each other, and none need be installed here; nor is this host's index ours.
    found = [line for line in (done.stdout + done.stderr).splitlines()
             if "referenced manual not found" not in line and "outdated mandoc.db" not in line]
    assert found == []


def test_the_pages_are_those_and_refer_to_each_other():
    assert sorted(path.name for path in (TOP / "man").iterdir()) == sorted(PAGES)
    for name in PAGES:
        others = {tuple(other.rsplit(".", 1)) for other in PAGES if other != name}
        said = set(re.findall(r"^\.Xr (\S+) ([1-9])", section(name, "SEE ALSO"), re.MULTILINE))
        assert said == others
    for path in re.findall(r"`(man/[^`]+)`", README):
        assert (TOP / path).is_file(), path


@pytest.mark.parametrize("name", ["README.md", *(f"man/{name}" for name in PAGES)])
def test_no_line_is_too_long_for_a_terminal(name):
    lines = (TOP / name).read_text(encoding="utf-8").splitlines()
    assert [number for number, text in enumerate(lines, 1) if len(text) > LINE] == []
