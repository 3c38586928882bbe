"""What two or more layers use: errors, instants, addresses, durations, files, logs. Imports nothing of ours."""
