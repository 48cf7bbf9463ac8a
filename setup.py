"""Makes the classes of the protocol's messages when the package is built: the rest is declared."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from grpc_tools import protoc
from setuptools import Command, setup
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError

ROOT = Path(__file__).parent
PROTOCOL = "service/api/v2/grpc/open_inference.proto"


class Messages(Command):
    """Writes the classes, and their types, beside the file that describes them."""

    description = "make the classes of the protocol's messages"
    user_options: ClassVar[list[tuple[str, str | None, str | None]]] = []

    def initialize_options(self) -> None:
        """Nothing can be chosen."""

    def finalize_options(self) -> None:
        """Nothing can be chosen."""

    def run(self) -> None:
        """Have the compiler write them."""
        places = [f"--{kind}_out={ROOT}" for kind in ("python", "pyi")]
        code = protoc.main(["protoc", f"--proto_path={ROOT}", *places, str(ROOT / PROTOCOL)])
        if code:
            raise BaseError(f"{PROTOCOL} cannot be compiled")


class BuildWithMessages(build_py):
    """Builds the package once its messages are there, for an editable install, too."""

    def run(self) -> None:
        """Make them first, so that they are found like every other module."""
        self.run_command("messages")
        super().run()


setup(cmdclass={"messages": Messages, "build_py": BuildWithMessages})
