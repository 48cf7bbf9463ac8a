"""A build: which programs it compiles."""

from __future__ import annotations

from typing import Any

import pytest
from torch.export import ExportedProgram

from service.engines.aoti.build import CompiledProgram, compile_needed
from service.engines.aoti.package import NETWORK, NETWORK_OF_ONE
from service.engines.aoti.packing import Packing


@pytest.mark.parametrize(
    ("differs", "compiled"), [(True, [NETWORK, NETWORK_OF_ONE]), (False, [NETWORK])]
)
def test_a_program_of_one_is_compiled_where_one_image_is_another_matter(
    *, differs: bool, compiled: list[str]
) -> None:
    """And only there: it takes as long to build as the program itself."""
    programs: dict[str, Any] = {NETWORK: lambda: "for any", NETWORK_OF_ONE: lambda: "for one"}

    def compile_one(_: str, __: ExportedProgram) -> CompiledProgram:
        return CompiledProgram([], Packing(differs_for_one=differs))

    found = compile_needed(programs, compile_one)

    assert list(found) == compiled
