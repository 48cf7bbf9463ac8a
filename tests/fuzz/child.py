"""The process that fuzzes one target until its time is over or something is found.

Its arguments are the target's name and then those of libFuzzer.
"""

from __future__ import annotations

import sys

from tests.fuzz.target import find_target

INSTRUMENTED = ("service", "PIL", "tests")  # packages whose branches are counted


def main() -> None:
    """Import the target with its branches counted, and hand it to libFuzzer, which ends all."""
    import atheris  # noqa: PLC0415 - not every Python has it

    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        target = find_target(name)
    target.prepare()
    atheris.Setup([name, *arguments], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
