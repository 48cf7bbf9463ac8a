"""How right a model is: outcomes of labelled pictures in, figures and a page of them out.

Pure functions over arrays; nothing here runs a model, or opens a picture.
"""
