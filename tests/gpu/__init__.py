"""One run over all that needs a GPU, in order, with a report: `make gpu-test`. It has not been run.

Each step is a process of its own, so that one which loses the GPU, hangs or ends does not take the
others along. What is built goes from step to step in a folder.
"""
