"""What `python -m jobs.speed` measures, one part per file."""
