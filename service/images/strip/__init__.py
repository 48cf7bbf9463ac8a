"""A file comes in; out go the same picture without what is beside its pixels, and which way is up.

Profiles, comments, texts, thumbnails and whatever else a decoder would parse for nothing is left
out before it sees the file: what that would cost, and whether it is damaged, is of no consequence.
Nothing is decoded here; how much memory a decoder will need is told from the headers.
"""
