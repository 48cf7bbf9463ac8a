"""The compiled engine: the graph built ahead of time by AOTInductor, in float and in int8.

A fused graph comes in; a package goes into the artifact cache, and the programs out of it run
without the compiler.
"""
