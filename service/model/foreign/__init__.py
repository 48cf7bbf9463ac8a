"""Checkpoints as others write them: bytes in, a network of ours out, and what was left out of it.

No code that a file may hold is run, and no weight is changed but by the insertion of SGE.
"""
