"""What `make bench` measures: engines and their peers, decoding, the service, a forward pass."""

from service.config import bound_openmp_waiting

bound_openmp_waiting()  # before torch is loaded; as the service does
