"""The recipe of the shipped model: Fashion-MNIST in, the next version in the model store out.

`python -m recipe` runs it. The service never imports it, and the images leave it out.
"""
