"""What happens to an admitted image: permits, queue, batches, the device's thread, the answer.

Encoded images or pixels come in with a deadline; exactly one answer or error goes out for each.
Its state lives on the event loop; it knows nothing of HTTP.
"""
