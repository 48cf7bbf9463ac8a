"""What is loaded of a package, and which of its programs runs a batch."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from service.engines.aoti.package import BySize, copied
from service.engines.artifact_cache import ArtifactCache


def test_torchs_own_loader_gets_a_package_alone(tmp_path: Path) -> None:
    """Without the checksum in front, by a path, for as long as it is needed."""
    files = ArtifactCache(tmp_path)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", "program")
    files.write("package", content.getvalue())
    package = files.open("package")
    assert package is not None

    with package, copied(package) as path:
        assert path.read_bytes() == content.getvalue()

    assert not path.exists()


def test_one_image_has_a_program_of_its_own() -> None:
    """Where a package holds one; every other batch takes the program for any."""

    def named(name: str) -> Tensor:
        return torch.tensor([ord(name)])

    program = BySize(of_one=lambda _: [named("1")], of_any=lambda _: [named("n")])

    assert [program([torch.zeros(size)]) for size in (1, 2, 3)] == [
        [named("1")],
        [named("n")],
        [named("n")],
    ]
