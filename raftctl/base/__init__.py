"""What two or more layers use: errors, instants, addresses, durations, files, logs, resources. Imports nothing of ours."""
