"""The Open Inference Protocol (V2) over HTTP, which clients of Triton and KServe speak."""
