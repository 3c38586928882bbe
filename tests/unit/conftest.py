"""For several modules of unit tests."""

import functools

import pytest
from fake_daemon import ask_daemon


@pytest.fixture
def ask(tmp_path, capfd):
    """Return `ask(daemon, *arguments)`: exit status, output and errors of a command line, as text."""
    return functools.partial(ask_daemon, tmp_path, capfd)
