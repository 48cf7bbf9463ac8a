"""From an engine's outputs to what was asked for: predictions, masks, attribution, their pictures.

Arrays of one image come in; dataclasses go out, which `api` and `commands` turn into documents.
Pure functions; nothing here knows HTTP, queues or engines.
"""
