"""Convolutions of our own for float32 on a CPU, where they hold against oneDNN's.

A fused network comes in; one comes out whose convolutions and gates are operators of C++ that is
compiled with the package. Maps are channels last in the shapes, too: (B, H, W, C).
"""
