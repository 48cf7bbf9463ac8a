"""What may break inside a service, fault by fault, and what must hold whichever does."""
