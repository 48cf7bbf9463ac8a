"""The TensorRT engine: the graph exported to Torch-TensorRT, which builds and runs it on a GPU."""
