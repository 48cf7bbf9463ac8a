"""Model versions on disk, `<store>/<name>/<version>/`: verified as they are read, written whole.

Folders come in, loaded models go out, and the other way round. A version that is there is never
changed.
"""
