"""`python -m service` is `sge-serve`."""

from service.cli import main

main()
