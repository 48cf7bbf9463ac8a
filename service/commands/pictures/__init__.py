"""Pictures of folders and patterns: found in a stated order, read ahead of their turn, labelled.

Paths come in; files with their names go out. Nothing here decodes or classifies.
"""
