"""What `sge-serve predict` writes of each picture: a table, a document, rows, overlays.

Results come in, in the order of the pictures; text and files go out. Nothing here classifies.
"""
