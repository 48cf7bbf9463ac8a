"""Engines: ways to run the inference graph on a device."""
