"""Entry point of `python -m raftctl` and of the zipapp."""

from raftctl.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
