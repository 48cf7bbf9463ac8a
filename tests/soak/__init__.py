"""`make soak`: the service under everything that clients and faults do to it, for half an hour.

It begins the service as a process of its own (`service.py`), lets clients of every kind at it
(`clients.py`) in rounds, kills engines and decoders meanwhile (`rounds.py`), counts between the
rounds what the process holds (`holdings.py`), and judges at the end (`verdict.py`).
"""
