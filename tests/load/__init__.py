"""Load tests: what a running service carries, measured so that a stalled one is not excused."""
