"""Asks a service by KServe's own client: kserve_client.py ADDRESS MODEL PICTURE.

Run by a Python that has it (`get_kserve_client.sh`); prints what the client saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(model: str, side_px: int, *, binary: bool) -> InferRequest:
    """Two grey images, as numbers in JSON or as bytes behind it."""
    pixels = np.full((2, 3, side_px, side_px), 128, np.uint8)
    image = InferInput(name="IMAGE", shape=list(pixels.shape), datatype="UINT8")
    image.set_data_from_numpy(pixels, binary_data=binary)
    parameters = {"binary_data_output": binary}
    return InferRequest(model_name=model, infer_inputs=[image], parameters=parameters)


def picture_request(model: str, picture: bytes) -> InferRequest:
    """An encoded picture."""
    image = InferInput(name="IMAGE", shape=[1, 1], datatype="BYTES")
    image.set_data_from_numpy(np.array([[picture]], dtype=object), binary_data=True)
    return InferRequest(model_name=model, infer_inputs=[image])


async def refusal(client: InferenceRESTClient, address: str, model: str) -> int:
    """The status with which a prediction by the first protocol is refused."""
    try:
        await client.infer(address, {"instances": [[0]]}, model_name=model)
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200


async def look(address: str, model: str, picture: bytes) -> dict[str, Any]:
    """All that is asked."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=None))
    first = InferenceRESTClient(RESTConfig(protocol="v1", timeout=None))
    async with httpx.AsyncClient() as plain:
        described = (await plain.get(f"{address}/v2/models/{model}")).json()
    side_px = described["inputs"][0]["shape"][-1]
    listed = await client.infer(address, request(model, side_px, binary=False), model)
    binary = await client.infer(address, request(model, side_px, binary=True), model)
    named = f"{model}-image"
    seen = await client.infer(address, picture_request(named, picture), named)
    outputs = {output.name: output.as_numpy() for output in seen.outputs}
    scores, scores_in_binary = (reply.outputs[0].as_numpy() for reply in (listed, binary))
    return {
        "server ready": await client.is_server_ready(address),
        "server live": await client.is_server_live(address),
        "model ready": await client.is_model_ready(address, model),
        "other model ready": await client.is_model_ready(address, "another"),
        "shape": list(scores.shape),
        "both forms agree": bool(np.allclose(scores, scores_in_binary, atol=1e-6)),
        "label": outputs["TOP_LABEL"].ravel()[0],
        "by the first protocol": await refusal(first, address, model),
    }


if __name__ == "__main__":
    found = asyncio.run(look(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()))
    sys.stdout.write(json.dumps(found))
