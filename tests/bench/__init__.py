"""What `sge-serve bench` measures: engines and their peers, decoding, the whole service."""
