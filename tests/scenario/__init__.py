"""Scenarios: plain-text scripts for the pure core, each shows one rule (tests/scenarios/*.txt).

Column 0 holds commands, indented under each stands the complete trace of decisions that it must cause, `#`
lines say why the file exists. `parse` reads the text, `world` owns time and turns the nodes, `network`,
`disk` and `clock` are what the nodes live on, `commands` is the table of commands, `trace` formats,
`invariants` checks P1 to P3 after every step, `runner` compares and rewrites. Nothing here sleeps or reads a
real clock.
"""
