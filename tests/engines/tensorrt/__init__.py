"""What the pinned Torch-TensorRT converts and takes, read from its source, and who reads it."""
