"""Ways to run the inference graph on a device, behind one protocol (`base`).

Loaded models come in; logits and similarities go out. What an engine has built is kept in an
artifact cache. An engine knows nothing of queues, requests or masks.
"""
