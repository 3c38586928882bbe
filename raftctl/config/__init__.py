"""The configuration file: `keys.py` is the table of keys, `load.py` the way in, `model.py` what comes out.

read (bytes to JSON) -> keys, values, hooks (JSON to values) -> nodes (defaults, rules within a node) ->
together (rules between nodes). Reads files and asks the resolver; changes nothing. Light: `raftctl state`
pays for it.
"""
