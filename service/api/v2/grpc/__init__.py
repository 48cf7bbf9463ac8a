"""The Open Inference Protocol (V2) over gRPC, on a port of its own.

The same requests as over HTTP, by the same pipeline: protobuf messages in, protobuf messages and
status codes out. The one room that knows gRPC, and imported only where it is to be served.
"""
