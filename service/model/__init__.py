"""The network: SGE, the residual networks that carry it, and their form for inference.

Weights and specs come in; modules of torch go out. Nothing here reads a store or serves a request.
"""
