"""For all layers: errors, instants, addresses, durations, files, logs. Imports nothing of ours."""
