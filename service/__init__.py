"""SGE-Serve: image classification with attention masks from the same forward pass."""

__version__ = "0.1.0"
