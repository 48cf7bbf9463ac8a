"""What a picture may be, and how its bytes become the pixels that a model sees.

Bytes and a model's input contract come in; (3, S, S) uint8 goes out. Pure functions for any thread,
which know nothing of torch, of a model's weights or of a request.
"""
