"""What `sge-serve import` makes of a request: a plan of the version, its report, card and checks.

Files come in; a plan goes out that only has to be written. Nothing here prints or writes.
"""
