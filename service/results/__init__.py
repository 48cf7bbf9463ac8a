"""From logits and similarities to what was asked for: predictions, masks, pictures of masks.

Arrays of one image come in; dataclasses go out, which `api` and `commands` turn into documents.
Pure functions; nothing here knows HTTP, queues or engines.
"""
