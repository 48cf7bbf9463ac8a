"""Tests of SGE-Serve: one file per module, each test named after a behaviour."""
