"""What `make bench` measures: engines and their peers, decoding, the service, a forward pass."""
