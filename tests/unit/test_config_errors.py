"""P9: each malformed configuration gets its one line, word for word: file, key, what is wrong, the mend."""

from __future__ import annotations

import json
import os

import pytest

from raftctl.base.errors import UsageError
from raftctl.config.load import load, pick

LIST = ["tcp://h1:8089", "tcp://h2:8089", "tcp://h3:8089"]
ONE = {"address": "tcp://localhost:8089"}
KEYS = (
    "address, listen, command_port, command_host, http, name, clusterNodes, heartbeat, election min, "
    "election max, takeover delay, join, dataDir, logFile, logLevel, events, check, priority, preempt, "
    "secretFile, insecure, "
    "serviceName, description, user, hardened, nodes"
)
MAKE = "(umask 077; head -c 32 /dev/urandom | base64 > {dir}/secret)"
DURATION = 'write "200 ms", "1.5 s" or a number of milliseconds'


def one(**keys):
    return {**ONE, **{name.replace("__", " "): value for name, value in keys.items()}}


def two(first=None, second=None, **top):
    nodes = [
        {"address": "tcp://localhost:8089", "command_port": 10000, **(first or {})},
        {"address": "tcp://localhost:8090", "command_port": 10001, **(second or {})},
    ]
    return {**top, "nodes": nodes}


# name, content (text or bytes: as it is; else as JSON), message after "PATH: "; {path}, {dir} are filled in.
MALFORMED = [
    # The file.
    ("empty", "", 'is empty; the shortest configuration is {"address": "tcp://localhost:8089"}'),
    ("only blanks", " \n\n", 'is empty; the shortest configuration is {"address": "tcp://localhost:8089"}'),
    (
        "byte order mark",
        b'\xef\xbb\xbf{"address": 1}',
        "begins with a byte order mark; save it as UTF-8 without one",
    ),
    ("UTF-16", '{"a": 1}'.encode("utf-16"), "begins with a byte order mark; save it as UTF-8 without one"),
    ("Latin-1", b'{\n"name": "K\xf6ln"}', "line 2 is not UTF-8 (byte 12); save it as UTF-8"),
    ("too long", " " * (1 << 20) + "{}", "is longer than 1048576 bytes; name another file"),
    # JSON.
    (
        "trailing comma",
        '{"address": "tcp://h1:8089",\n}',
        'line 1, column 28: there is a comma before "}"; remove it',
    ),
    (
        "comma in a list",
        '{"clusterNodes": [\n  "tcp://h1:8089",\n]}',
        'line 2, column 18: there is a comma before "]"; remove it',
    ),
    (
        "missing comma",
        '{"name": "a"\n "address": 1}',
        'line 2, column 2: expected "," or the end of the object or list, not "\\""',
    ),
    ("missing colon", '{"name" "a"}', 'line 1, column 9: expected ":" after the key, not "\\""'),
    ("missing value", '{"name": }', 'line 1, column 10: expected a value, not "}"'),
    ("bare key", "{address: 1}", 'line 1, column 2: expected a key in double quotes, not "a"'),
    ("single quotes", "{'address': 1}", "line 1, column 2: text stands in double quotes, not single ones"),
    ("comment", '{\n  // mine\n  "name": "a"}', "line 2, column 3: JSON has no comments; remove it"),
    ("hash comment", '# mine\n{"name": "a"}', "line 1, column 1: JSON has no comments; remove it"),
    ("open text", '{"name": "a}', "line 1, column 10: this text has no closing double quote"),
    (
        "line break in text",
        '{"name": "a\nb"}',
        "line 1, column 12: a text must end on the line where it begins",
    ),
    (
        "unknown escape",
        '{"logFile": "C:\\log"}',
        'line 1, column 16: unknown escape; write "\\\\" for a backslash',
    ),
    (
        "open object",
        '{"name": "a"',
        'line 1, column 13: expected "," or the end of the object or list, not the end',
    ),
    ("two objects", '{"name": "a"}\n{}', 'line 2, column 1: expected the end of the file, not "{"'),
    ("NaN", '{"heartbeat": NaN}', "NaN is no JSON; write a number"),
    ("Infinity", '{"heartbeat": -Infinity}', "-Infinity is no JSON; write a number"),
    (
        "many digits",
        '{"heartbeat": ' + "1" * 5000 + "}",
        "the number 111111111111... has 5000 digits; write a smaller one",
    ),
    ("deep", "[" * 100000, "is nested too deeply; a configuration has at most four levels"),
    ("deep object", '{"a":' * 100000, "is nested too deeply; a configuration has at most four levels"),
    ("list", "[]", 'is no JSON object; write {"address": "tcp://localhost:8089"}'),
    ("null", "null", 'is no JSON object; write {"address": "tcp://localhost:8089"}'),
    (
        "lone surrogate",
        '{"name": "\\ud800"}',
        'the text "\\ud800" holds the control character U+D800; remove it',
    ),
    (
        "line feed in text",
        '{"description": "a\\nUser=b"}',
        'the text "a\\nUser=b" holds the control character U+000A; remove it',
    ),
    (
        "NUL in a path",
        '{"dataDir": "/a\\u0000"}',
        'the text "/a\\u0000" holds the control character U+0000; remove it',
    ),
    # Keys.
    ("unknown near", one(electon__min=1), '"electon min" is not a key; did you mean "election min"?'),
    (
        "unknown spelt otherwise",
        one(COMMANDPORTS=1),
        '"COMMANDPORTS" is not a key; did you mean "command_port"?',
    ),
    ("unknown far", one(xyzzy=1), f'"xyzzy" is not a key; keys are {KEYS}'),
    ("key twice", '{"name": "a", "name": "a"}', '"name" stands twice in one object; remove one'),
    (
        "two spellings",
        '{"election min": 1, "electionMin": 2}',
        '"election min" and "electionMin" are the same key; remove one',
    ),
    (
        "two spellings in a node",
        '{"nodes": [{"dataDir": "a", "data_dir": "b"}]}',
        '"dataDir" and "data_dir" are the same key; remove one',
    ),
    # Addresses.
    (
        "no address",
        {},
        '"address" is missing; write "address": "tcp://HOST:8089", or list all hosts in "clusterNodes"',
    ),
    ("address no text", one(address=8089), '"address": 8089 is no text; write "tcp://HOST:8089"'),
    (
        "address blank",
        one(address=" "),
        '"address": " " is empty; write "tcp://HOST:8089", or leave the key out',
    ),
    (
        "address without scheme",
        one(address="h1:8089"),
        '"address": "h1:8089" is no address; write it as tcp://host:port',
    ),
    (
        "address without port",
        one(address="tcp://h1"),
        '"address": "tcp://h1" is no address; write it as tcp://host:port',
    ),
    (
        "port 0",
        one(address="tcp://h1:0"),
        '"address": port 0 in "tcp://h1:0" is out of range; use 1 to 65535',
    ),
    (
        "port 65536",
        one(address="tcp://h1:65536"),
        '"address": port 65536 in "tcp://h1:65536" is out of range; use 1 to 65535',
    ),
    (
        "wildcard",
        one(address="tcp://0.0.0.0:8089"),
        (
            '"address": peers can\'t dial tcp://0.0.0.0:8089; write this host\'s name or IP, and "listen": '
            '"0.0.0.0"'
        ),
    ),
    (
        "wildcard IPv6",
        one(address="tcp://[::]:8089"),
        '"address": peers can\'t dial tcp://[::]:8089; write this host\'s name or IP, and "listen": "::"',
    ),
    (
        "wildcard in disguise",
        one(address="tcp://0:8089"),
        '"address": peers can\'t dial tcp://0:8089; write this host\'s name or IP, and "listen": "0"',
    ),
    (
        "wildcard in the list",
        {"clusterNodes": ["tcp://0.0.0.0:8089"]},
        "\"clusterNodes\": peers can't dial tcp://0.0.0.0:8089; write the host's name or IP",
    ),
    (
        "no host name",
        one(address="tcp://a,b:8089"),
        '"address": "tcp://a,b:8089": "a,b" is no host name or IP address',
    ),
    (
        "no IPv4",
        one(address="tcp://10.0.0.256:8089"),
        '"address": "tcp://10.0.0.256:8089": "10.0.0.256" is no host name or IP address',
    ),
    (
        "no IPv6",
        one(address="tcp://[1:2]:8089"),
        '"address": "tcp://[1:2]:8089": "1:2" is no host name or IP address',
    ),
    (
        "long label",
        one(address=f"tcp://{'a' * 64}:8089"),
        f'"address": "tcp://{"a" * 50}...: "{"a" * 64}" is no host name or IP address',
    ),
    (
        "listen with port",
        one(listen="0.0.0.0:8089"),
        '"listen": "0.0.0.0:8089" has a port or a scheme; write the host alone',
    ),
    (
        "listen with scheme",
        one(listen="tcp://0.0.0.0:80"),
        '"listen": "tcp://0.0.0.0:80" has a port or a scheme; write the host alone',
    ),
    (
        "command_port text",
        one(command_port="10000"),
        '"command_port": "10000" is text; write the number without quotes: 10000',
    ),
    (
        "command_port range",
        one(command_port=70000),
        '"command_port": port 70000 is out of range; use 1 to 65535',
    ),
    ("command_port zero", one(command_port=0), '"command_port": port 0 is out of range; use 1 to 65535'),
    (
        "command_port fraction",
        one(command_port=1.5),
        '"command_port": 1.5 is no whole number; write a number such as 10000',
    ),
    (
        "command_port flag",
        one(command_port=True),
        '"command_port": true is no whole number; write a number such as 10000',
    ),
    (
        "command_port taken",
        one(command_port=8089),
        '"command_port": 8089 is the port of "address" too; choose another',
    ),
    # The list.
    (
        "list no list",
        one(clusterNodes="tcp://h1:8089"),
        (
            '"clusterNodes": "tcp://h1:8089" is no list; write ["tcp://h1:8089", "tcp://h2:8089", '
            '"tcp://h3:8089"]'
        ),
    ),
    (
        "list empty",
        one(clusterNodes=[]),
        (
            '"clusterNodes": [] is empty; write ["tcp://h1:8089", "tcp://h2:8089", "tcp://h3:8089"], or '
            'leave the key out'
        ),
    ),
    ("list of numbers", one(clusterNodes=[1]), '"clusterNodes": 1 is no text; write "tcp://HOST:8089"'),
    (
        "list with a double",
        one(clusterNodes=[LIST[0], "tcp://H1:8089/"]),
        '"clusterNodes": tcp://h1:8089 stands twice; remove one',
    ),
    (
        "list of eight",
        {"clusterNodes": [f"tcp://h{n}:8089" for n in range(8)]},
        '"clusterNodes": 8 nodes are too many; at most 7 vote in a cluster',
    ),
    (
        "list of seven others",
        {"address": "tcp://h8:8089", "clusterNodes": [f"tcp://h{n}:8089" for n in range(7)]},
        '"clusterNodes" with this node\'s address: 8 nodes are too many; at most 7 vote in a cluster',
    ),
    (
        "localhost beside others",
        {"address": "tcp://localhost:8089", "clusterNodes": ["tcp://localhost:8089", *LIST[1:]]},
        (
            '"clusterNodes" names tcp://localhost:8089 beside tcp://h2:8089, whose host can\'t reach that; '
            "write a name or IP of this host instead of localhost"
        ),
    ),
    (
        "own localhost beside others",
        {"address": "tcp://127.0.0.1:8089", "clusterNodes": LIST},
        (
            '"clusterNodes" with "address" names tcp://127.0.0.1:8089 beside tcp://h1:8089, whose host '
            'can\'t reach that; '
            "write a name or IP of this host instead of 127.0.0.1"
        ),
    ),
    (
        "none is here",
        {"clusterNodes": ["tcp://far1:8089", "tcp://far2:8089"]},
        (
            'this host can bind no entry of "clusterNodes" (tcp://far1:8089: not here, tcp://far2:8089: not '
            'here); '
            'add it, or say which one it is: "address": "tcp://HOST:PORT"'
        ),
    ),
    (
        "several are here",
        {"clusterNodes": LIST},
        (
            'this host can bind 3 entries of "clusterNodes" (tcp://h1:8089, tcp://h2:8089, tcp://h3:8089); '
            'say which one it is: "address": "tcp://h1:8089"'
        ),
    ),
    (
        "join and list",
        one(join="tcp://h1:8089", clusterNodes=["tcp://localhost:8089"]),
        (
            '"join" and "clusterNodes" exclude each other; keep "join" to enter a running cluster, '
            '"clusterNodes" to found one'
        ),
    ),
    (
        "join itself",
        one(join="tcp://localhost:8089"),
        '"join": tcp://localhost:8089 is this node itself; write the address of a member',
    ),
    (
        "join from localhost",
        one(join="tcp://h2:8089"),
        (
            '"join" with "address" names tcp://localhost:8089 beside tcp://h2:8089, whose host can\'t reach '
            'that; '
            "write a name or IP of this host instead of localhost"
        ),
    ),
    # Times.
    ("heartbeat list", one(heartbeat=[100]), f'"heartbeat": [100] is no duration; {DURATION}'),
    ("heartbeat null", one(heartbeat=None), f'"heartbeat": null is no duration; {DURATION}'),
    ("heartbeat words", one(heartbeat="often"), f'"heartbeat": "often" is no duration; {DURATION}'),
    (
        "heartbeat unit",
        one(heartbeat="5 weeks"),
        '"heartbeat": "weeks" in "5 weeks" is no unit of time; write ms, s, min or h',
    ),
    ("heartbeat zero", one(heartbeat=0), '"heartbeat": 0 is too short; at least 1 ms'),
    ("election min negative", one(election__min="-1 s"), '"election min": "-1 s" is negative'),
    ("election max zero", one(election__max="0 s"), '"election max": "0 s" is too short; at least 20 ms'),
    ("election max too long", one(election__max="2 h"), '"election max": "2 h" is too long; at most 1 h'),
    (
        "election min overflow",
        '{"election min": 1e999}',
        '"election min": inf is no duration; write a number of milliseconds',
    ),
    (
        "max below min",
        one(election__min="2 s", election__max="1 s"),
        '"election max": 1 s is less than "election min" (2 s); raise it, or lower "election min"',
    ),
    (
        "max below default min",
        one(election__max="300 ms"),
        (
            '"election max": 300 ms is less than "election min" (500 ms, the default); raise it, or lower '
            '"election min"'
        ),
    ),
    (
        "heartbeat too slow",
        one(heartbeat="250 ms"),
        (
            '"heartbeat": 250 ms is not less than half of "election min" (500 ms, the default); lower it, or '
            'leave it out'
        ),
    ),
    (
        "heartbeat too slow for min",
        one(heartbeat=100, election__min="200 ms"),
        '"heartbeat": 100 ms is not less than half of "election min" (200 ms); lower it, or leave it out',
    ),
    # Texts, flags, paths.
    (
        "insecure text",
        one(insecure="yes"),
        '"insecure": "yes" is neither true nor false; write one of them, without quotes',
    ),
    ("priority high", one(priority=256), '"priority": 256 is out of range; use 0 to 255'),
    ("priority low", one(priority=-1), '"priority": -1 is out of range; use 0 to 255'),
    (
        "priority text",
        one(priority="50"),
        '"priority": "50" is text; write the number without quotes: 50',
    ),
    (
        "preempt number",
        one(preempt=1),
        '"preempt": 1 is neither true nor false; write one of them, without quotes',
    ),
    ("level", one(logLevel="inf"), '"logLevel": "inf" is no level; did you mean "info"?'),
    (
        "level far",
        one(logLevel="loud"),
        '"logLevel": "loud" is no level; write debug, info, warning or error',
    ),
    ("tilde", one(dataDir="~/raft"), '"dataDir": "~/raft": ~ is not expanded; write the absolute path'),
    ("path number", one(logFile=1), '"logFile": 1 is no text; write a path'),
    (
        "name a port",
        one(name="8089"),
        '"name": "8089" is no name; at most 64 characters, no blanks, no bare number, no address',
    ),
    (
        "name with blanks",
        one(name="my node"),
        '"name": "my node" is no name; at most 64 characters, no blanks, no bare number, no address',
    ),
    (
        "service path",
        one(serviceName="a/b"),
        '"serviceName": "a/b" is no service name; use letters, digits and . _ - @ : only, without .service',
    ),
    (
        "service suffix",
        one(serviceName="a.service"),
        (
            '"serviceName": "a.service" is no service name; use letters, digits and . _ - @ : only, without '
            '.service'
        ),
    ),
    ("user", one(user="a b"), '"user": "a b" is no user name'),
    # Events.
    (
        "events text",
        one(events="x.sh"),
        '"events": "x.sh" is no object; write {"leader": "/etc/raftctl/leader.sh"}',
    ),
    ("event near", one(events={"leadr": "x"}), '"events": "leadr" is no event; did you mean "leader"?'),
    (
        "event far",
        one(events={"quorum lost": "x"}),
        '"events": "quorum lost" is no event; events are leader, follower, start, stop',
    ),
    (
        "event a packet",
        one(events={"heartbeat": "x"}),
        (
            '"events": "heartbeat" would run a script for each packet, which raftctl does not; '
            "events are leader, follower, start, stop"
        ),
    ),
    (
        "event and alias",
        one(events={"start": "x", "initialize": "y"}),
        '"events": "start" and "initialize" are the same event; remove one',
    ),
    (
        "hook number",
        one(events={"leader": 1}),
        '"events": "leader": 1 is no script; write its path, or ["/etc/raftctl/leader.sh", "argument"]',
    ),
    (
        "hook empty list",
        one(events={"leader": []}),
        '"events": "leader": [] is no script; write its path, or ["/etc/raftctl/leader.sh", "argument"]',
    ),
    (
        "hook argument",
        one(events={"leader": ["x", 1]}),
        '"events": "leader": argument 1 is no text; write ["/etc/raftctl/leader.sh", "argument"]',
    ),
    (
        "hook without run",
        one(events={"leader": {"timeout": "1 s"}}),
        '"events": "leader": "run" is missing; write {"run": "/etc/raftctl/leader.sh"}',
    ),
    (
        "hook key",
        one(events={"leader": {"run": "x", "time out s": 1}}),
        '"events": "leader": "time out s" is not a key of a hook; did you mean "timeout"?',
    ),
    (
        "hook timeout",
        one(events={"leader": {"run": "x", "timeout": 0}}),
        '"events": "leader": "timeout": 0 is too short; at least 10 ms',
    ),
    (
        "hook retry",
        one(events={"leader": {"run": "x", "retry": -1}}),
        '"events": "leader": "retry": -1 is out of range; use 0 to 100',
    ),
    (
        "check key",
        one(check={"run": "x", "intervall": "1 s"}),
        '"check": "intervall" is not a key of a check; did you mean "interval"?',
    ),
    (
        "check key far",
        one(check={"run": "x", "zzzzzz": 1}),
        '"check": "zzzzzz" is not a key of a check; keys are run, interval, timeout, fall, rise',
    ),
    (
        "check without run",
        one(check={"fall": 2}),
        '"check": "run" is missing; write {"run": "/etc/raftctl/check.sh"}',
    ),
    ("check fall", one(check={"run": "x", "fall": 0}), '"check": "fall": 0 is out of range; use 1 to 100'),
    ("check rise", one(check={"run": "x", "rise": 101}), '"check": "rise": 101 is out of range; use 1 to 100'),
    (
        "check interval",
        one(check={"run": "x", "interval": "5 ms"}),
        '"check": "interval": "5 ms" is too short; at least 100 ms',
    ),
    # Secrets (P8).
    (
        "no secret",
        {"address": "tcp://h1:8089"},
        (
            f'"address": h1 can be reached by other hosts, and there is no secret; make one, the same on all '
            f'hosts: {MAKE}; '
            'or set "insecure": true'
        ),
    ),
    (
        "no secret, listen",
        one(listen="0.0.0.0"),
        (
            f'"listen": 0.0.0.0 can be reached by other hosts, and there is no secret; make one, the '
            f'same on all hosts: {MAKE}; '
            'or set "insecure": true'
        ),
    ),
    (
        "no secret, command port",
        one(command_port=1, command_host="::"),
        (
            f'"command_host": :: can be reached by other hosts, and there is no secret; make one, the '
            f'same on all hosts: {MAKE}; '
            'or set "insecure": true'
        ),
    ),
    (
        "a name like loopback",
        {"address": "tcp://127.example.com:8089"},
        (
            f'"address": 127.example.com can be reached by other hosts, and there is no secret; make one, '
            f'the same on all hosts: {MAKE}; or set "insecure": true'
        ),
    ),
    (
        "secret missing",
        one(secretFile="secret"),
        '"secretFile": {dir}/secret: no such file; make it: ' + MAKE,
    ),
    # Cluster files.
    ("nodes no list", {"nodes": {}}, '"nodes": {} is no list; write [{"address": "tcp://localhost:8089"}]'),
    ("nodes empty", {"nodes": []}, '"nodes": [] is empty; write [{"address": "tcp://localhost:8089"}]'),
    (
        "node no object",
        {"nodes": [ONE, "x"]},
        'node 2: "x" is no object; write {"address": "tcp://localhost:8089"}',
    ),
    ("eight nodes", {"nodes": [ONE] * 8}, '"nodes": 8 nodes are too many; at most 7 vote in a cluster'),
    (
        "node without address",
        {"nodes": [ONE, {}]},
        'node 2: "address" is missing; write "address": "tcp://HOST:8089"',
    ),
    (
        "node with a wrong key",
        two(second={"adress": 1}),
        'node 2: "adress" is not a key; did you mean "address"?',
    ),
    (
        "node with a wrong value",
        two(second={"command_port": -1}),
        'node 2: "command_port": port -1 is out of range; use 1 to 65535',
    ),
    (
        "node key on top",
        two(command_port=1),
        '"command_port" belongs to one node; move it into an object of "nodes"',
    ),
    (
        "address on top",
        two(address="tcp://h1:1"),
        '"address" belongs to one node; move it into an object of "nodes"',
    ),
    (
        "file key in a node",
        two(first={"serviceName": "a"}),
        'node 1: "serviceName" is for the whole file; move it beside "nodes"',
    ),
    ("nodes in a node", two(first={"nodes": []}), 'node 1: "nodes" can\'t stand inside a node; remove it'),
    (
        "same address",
        two(second={"address": "tcp://LOCALHOST:8089"}),
        "nodes 1 and 2 have the same address (tcp://localhost:8089); give each node its own",
    ),
    (
        "same everything",
        two(
            first={"dataDir": "/d", "logFile": "/l"},
            second={
                "address": "tcp://localhost:8089",
                "command_port": 10000,
                "dataDir": "/x/../d",
                "logFile": "/l",
            },
        ),
        (
            "nodes 1 and 2 have the same address (tcp://localhost:8089), command_port (10000), dataDir (/d) "
            "and logFile (/l); "
            "give each node its own"
        ),
    ),
    (
        "same command_port",
        two(second={"command_port": 10000}),
        "nodes 1 and 2 have the same command_port (10000); give each node its own",
    ),
    (
        "same dataDir",
        two(first={"dataDir": "d"}, second={"dataDir": "d/"}),
        "nodes 1 and 2 have the same dataDir ({dir}/d); give each node its own",
    ),
    (
        "same default dataDir",
        two(first={"address": "tcp://127.0.0.2:8089"}, second={"address": "tcp://127.0.0.3:8089"}),
        "nodes 1 and 2 have the same dataDir (/state/raftctl/8089); give each node its own",
    ),
    (
        "same logFile and name",
        two(first={"logFile": "l", "name": "a"}, second={"logFile": "./l", "name": "a"}),
        "nodes 1 and 2 have the same logFile ({dir}/l) and name (a); give each node its own",
    ),
    ("http scheme", one(http="http://h1:80"),
     '"http": "http://h1:80" has a scheme; write host and port alone: "127.0.0.1:9080"'),
    ("http port alone", one(http=":80"), '"http": ":80" is no host:port; write "127.0.0.1:9080"'),
    ("http without a port", one(http="h1"), '"http": "h1" is no host:port; write "127.0.0.1:9080"'),
    ("http number", one(http=9080), '"http": 9080 is no text; write "127.0.0.1:9080"'),
    ("http range", one(http="h1:70000"), '"http": port 70000 is out of range; use 1 to 65535'),
    ("http IPv6", one(http="::1:80"),
     '"http": "::1:80": an IPv6 address stands in brackets; write "[::1]:9080"'),
    ("http at the address's port", one(http="0.0.0.0:8089"),
     '"http": 8089 is the port of "address" too; choose another'),
    ("http at the command port", one(http="127.0.0.1:10000", command_port=10000),
     '"http": 10000 is the port of "command_port" too; choose another'),
    ("http at the top of a cluster file", two(http="127.0.0.1:9080"),
     '"http" belongs to one node; move it into an object of "nodes"'),
    ("same http", two({"http": "127.0.0.1:9080"}, {"http": "127.0.0.1:9080"}),
     "nodes 1 and 2 have the same http (127.0.0.1 port 9080); give each node its own"),
    ("crossed http", two({"http": "127.0.0.1:9080"}, {"http": "0.0.0.0:9080"}),
     'node 1: "http": 9080 is the port of node 2\'s "http"; choose another'),
    ("http at another's command port", two({}, {"http": "0.0.0.0:10000"}),
     'node 2: "http": 10000 is the port of node 1\'s "command_port"; choose another'),
    (
        "crossed ports",
        two(second={"command_port": 8089}),
        'node 2: "command_port": 8089 is the port of node 1\'s address; choose another',
    ),
    (
        "join against the shared list",
        two(first={"join": "tcp://localhost:1"}, clusterNodes=["tcp://localhost:8090"]),
        (
            'node 1: "join" and the "clusterNodes" beside "nodes" exclude each other; '
            'move "clusterNodes" into the nodes that it is for'
        ),
    ),
]


def why_not(host):
    return "not here" if host.startswith("far") else None


def refuse(path, **options):
    options = {"environ": {"XDG_STATE_HOME": "/state"}, "as_root": False, "can_bind": why_not, **options}
    with pytest.raises(UsageError) as refused:
        load(str(path), **options)
    return str(refused.value)


@pytest.mark.parametrize(
    "content, message", [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
def test_p9_a_malformed_file_gets_its_one_line_and_nothing_is_changed(tmp_path, content, message):
    path = tmp_path / "n1.json"
    data = (
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )
    path.write_bytes(data)
    expected = message.replace("{path}", str(path)).replace("{dir}", str(tmp_path))
    assert refuse(path) == f"{path}: {expected}"
    assert os.listdir(tmp_path) == ["n1.json"]
    assert path.read_bytes() == data


def test_p9_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.json"
    assert refuse(path) == f"{path}: no such file; check the name"


def test_p9_the_file_of_the_environment_is_named(tmp_path):
    path = tmp_path / "none.json"
    with pytest.raises(UsageError) as refused:
        load(None, environ={"RAFTCTL_CONFIG": str(path)})
    assert str(refused.value) == (
        f"{path}: no such file; RAFTCTL_CONFIG names it; change that, or name another: --config FILE"
    )


def test_p9_a_directory_is_no_file(tmp_path):
    assert refuse(tmp_path) == f"{tmp_path}: is a directory; name a regular file"


def test_p9_a_fifo_is_refused_at_once_and_not_waited_for(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert refuse(path) == f"{path}: is no regular file; name a regular file"


def test_p9_a_dangling_link_says_that_its_target_is_missing(tmp_path):
    path = tmp_path / "link.json"
    path.symlink_to("gone.json")
    assert refuse(path) == f"{path}: no such file or directory"


def test_p9_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "n1.json"
    path.write_text("{}")

    def refuse_open(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        "raftctl.config.read.os.open", refuse_open
    )  # chmod does not stop root, who runs the tests.
    assert refuse(path) == f"{path}: permission denied; let this user read it, or use sudo"


def secret_file(tmp_path, data, mode=0o600):
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    (tmp_path / "n1.json").write_text(json.dumps(ONE))
    return tmp_path / "n1.json", path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_p8_a_secret_that_others_can_use_is_refused(tmp_path, mode):
    path, secret = secret_file(tmp_path, b"0123456789abcdef\n", mode)
    assert (
        refuse(path)
        == f'{path}: "secretFile": {secret}: others can use it (mode {mode:04o}); chmod 600 {secret}'
    )


def test_p8_an_empty_secret_is_refused(tmp_path):
    path, secret = secret_file(tmp_path, b" \n\n")
    make = f"(umask 077; head -c 32 /dev/urandom | base64 > {secret})"
    assert refuse(path) == f'{path}: "secretFile": {secret}: is empty; make it: {make}'


def test_p8_a_short_secret_is_refused(tmp_path):
    path, secret = secret_file(tmp_path, b"0123456789abcdef\nhunter2\n")
    make = f"(umask 077; head -c 32 /dev/urandom | base64 > {secret})"
    assert (
        refuse(path)
        == f'{path}: "secretFile": {secret}: a secret is shorter than 16 characters; make it: {make}'
    )


def test_p8_a_directory_is_no_secret(tmp_path):
    path, secret = secret_file(tmp_path, b"")
    secret.unlink()
    secret.mkdir()
    assert refuse(path) == f'{path}: "secretFile": {secret}: is a directory; name a regular file'


def cluster(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(two()))
    return load(str(path), environ={}, as_root=True)


def test_p9_a_cluster_file_without_a_choice_names_its_nodes(tmp_path):
    loaded = cluster(tmp_path)
    with pytest.raises(UsageError) as refused:
        pick(loaded, None)
    assert str(refused.value) == (
        f"{loaded.path}: has 2 nodes; choose one with --node: "
        "localhost:8089 (tcp://localhost:8089), localhost:8090 (tcp://localhost:8090)"
    )


def test_p9_a_wrong_choice_names_the_nodes(tmp_path):
    loaded = cluster(tmp_path)
    with pytest.raises(UsageError) as refused:
        pick(loaded, "h9")
    assert str(refused.value) == (
        f'{loaded.path}: no node is "h9"; choose one of '
        "localhost:8089 (tcp://localhost:8089), localhost:8090 (tcp://localhost:8090)"
    )
