"""The Open Inference Protocol (V2) over HTTP, which clients of Triton and KServe speak.

The same requests as `api` answers, under the protocol's names and in its documents.
"""
