"""Whether a network is computed by the kernels, and which of its convolutions."""

from __future__ import annotations

import structlog

from service.engines.aoti.kernels.library import Kernels, kernels_of_this_process
from service.engines.aoti.kernels.measure import choose_by_measurement
from service.engines.aoti.kernels.network import with_kernels
from service.model.fuse import FusedResNet
from service.model.graph import InferenceGraph

log = structlog.stdlib.get_logger(__name__)


def use_kernels(graph: InferenceGraph, side_px: int) -> Kernels | None:
    """Let the kernels compute what they are faster at; needs a C++ compiler.

    Args:
        graph: made of a fused network in float32, on the CPU; gets another network where any of its
            convolutions is theirs.
        side_px: of its input.

    Returns:
        What its program is to be linked with; None where the graph is as it was.
    """
    if not isinstance(graph.network, FusedResNet):
        raise TypeError("only a fused network can be computed by the kernels")
    try:
        kernels = kernels_of_this_process()
        choices = choose_by_measurement(graph.network, side_px, kernels)
    except (RuntimeError, OSError) as error:  # as where nothing in the temporary folder may be run
        log.warning("kernels are left out", reason=str(error))
        return None
    if all(choice.panel is None for choice in choices.values()):
        return None
    graph.network = with_kernels(graph.network, choices.__getitem__)  # type: ignore[assignment]
    return kernels
