"""What a scheduler runs: thin compositions of the verbs in `forecast`."""
