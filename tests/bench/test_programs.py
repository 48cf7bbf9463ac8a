"""The plain network by the kernels of the compiled engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.bench.entrants import random_pixels
from tests.bench.networks import PLAIN, graph_of
from tests.bench.programs import compiled_program, plain_by_kernels
from tests.engine_builders import needs_compiler
from tests.engines.networks import short_model


@needs_compiler
@pytest.mark.slow
def test_the_plain_network_by_our_kernels_computes_what_the_plain_one_does() -> None:
    """Logits and features, for one image and for several."""
    reference = graph_of(short_model(), PLAIN, "fp32")

    program = compiled_program(plain_by_kernels(short_model()))

    for batch in (1, 3):
        pixels = torch.from_numpy(random_pixels(batch, 32))
        logits, _ = program([pixels])
        with torch.inference_mode():
            expected = reference(pixels).logits
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
