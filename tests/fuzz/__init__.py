"""Coverage-guided fuzzing of what reads clients' bytes: `python -m tests.fuzz images`, or `v2`."""
