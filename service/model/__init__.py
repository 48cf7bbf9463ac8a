"""The network: Spatial Group-wise Enhance and the residual networks that carry it."""
