"""The steps, in the order in which a first run on a GPU would meet what can break."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import torch

from service.engines.aoti.cuda_graphs import RecordedProgram
from service.engines.driver import tensorrt_is_installed
from service.engines.gpu import survey_gpu
from service.errors import EngineFailed, EngineLost
from service.serving.batch_memory import is_out_of_memory
from tests.gpu.runner import Figures, Skipped
from tests.gpu.scene import (
    GATES_APART,
    LOGITS_APART,
    Scene,
    Wrong,
    gates_apart,
    infer,
    kept,
    logits_apart,
    require_close,
    require_finite,
)
from tests.gpu.throughput import throughput
from tests.processes import ready
from tests.running import PNG

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "tests" / "data" / "ankle-boot-on-canvas.png"
MINUTE_S = 60.0
LEFT_BYTES = 64 << 20  # of the GPU's memory, too little for a large batch


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what it is called, what it does, and after which time it counts as hung."""

    name: str
    run: Callable[[Scene], Figures]
    limit_s: float = 10 * MINUTE_S


def machine(scene: Scene) -> Figures:
    """Say what is here."""
    gpu = survey_gpu()
    free, total = torch.cuda.mem_get_info()
    return {
        "gpu": gpu.name,
        "architecture": f"sm_{gpu.capability[0]}{gpu.capability[1]}",
        "CUDA of the driver": gpu.driver_cuda or 0,
        "torch": torch.__version__,
        "memory, GB": total / 1e9,
        "free, GB": free / 1e9,
        "precisions": ", ".join(scene.precisions),
    }


def build(scene: Scene) -> Figures:
    """Compile the network in each precision, and load what was compiled."""
    figures: Figures = {}
    for precision in scene.precisions:
        engine = scene.compiled(precision)
        began = time.monotonic()
        engine.load()
        figures[f"{precision}, s"] = time.monotonic() - began
        figures[f"{precision}, MB"] = (engine.files.folder / engine.key).stat().st_size / 1e6
        require_finite(infer(engine, scene.rows(2)).logits, "logits")
        engine.close()
    return figures


def capture(scene: Scene) -> Figures:
    """Have CUDA record each bucket, and count the memory that it takes."""
    figures: Figures = {}
    for precision in scene.precisions:
        before, _ = torch.cuda.mem_get_info()
        program = kept(scene.compiled(precision)).program
        if not isinstance(program, RecordedProgram):
            raise Wrong(f"CUDA does not record the program in {precision}")
        after, _ = torch.cuda.mem_get_info()
        figures[f"{precision}, buckets"] = ", ".join(map(str, sorted(program.recordings)))
        figures[f"{precision}, MB"] = (before - after) / 1e6
    return figures


def parity(scene: Scene) -> Figures:
    """Compare logits with the eager engine's, in batches that fill a bucket and others."""
    figures: Figures = {}
    for precision in scene.precisions:
        given, expected = kept(scene.compiled(precision)), scene.eager(precision)
        figures[precision] = max(
            require_close(
                f"{precision}, {size} images",
                logits_apart(*(infer(engine, scene.rows(size)) for engine in (given, expected))),
                LOGITS_APART[precision],
            )
            for size in scene.sizes()
        )
    return figures


def masks(scene: Scene) -> Figures:
    """Compare the gates of every block with the eager engine's in fp32."""
    model, exact = scene.model(), scene.eager("fp32")
    figures: Figures = {}
    for precision in scene.precisions:
        engine = kept(scene.compiled(precision))
        figures[precision] = max(
            require_close(
                f"{precision}, {size} images",
                gates_apart(
                    model,
                    *(infer(one, scene.rows(size), scene.blocks) for one in (engine, exact)),
                ),
                GATES_APART[precision],
            )
            for size in scene.sizes()
        )
    return figures


def out_of_memory(scene: Scene) -> Figures:
    """Leave a large batch no room: the error is told for what it is, the next one is answered."""
    engine, rows = scene.eager("fp32"), scene.rows(scene.max_batch)
    infer(engine, rows[:1])  # libraries take theirs once, and say otherwise that they cannot
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(0, free - LEFT_BYTES), dtype=torch.uint8, device=scene.device)
    try:
        infer(engine, rows)
    except RuntimeError as error:
        failure = EngineFailed(str(error))
        failure.__cause__ = error
        if not is_out_of_memory(failure):
            raise Wrong(f"it is not told for what it is: {error}") from error
    else:
        raise Wrong(f"a batch of {len(rows)} runs in {LEFT_BYTES >> 20} MiB")
    del hog
    torch.cuda.empty_cache()
    require_finite(infer(engine, rows).logits, "logits")
    return {"taken, GB": (free - LEFT_BYTES) / 1e9}


def tensorrt(scene: Scene) -> Figures:
    """Build TensorRT's engines, and compare them with the eager engine."""
    if not tensorrt_is_installed():
        raise Skipped("TensorRT is not installed: pip install 'sge-serve[tensorrt]'")
    engine, exact = scene.tensorrt(), scene.eager("fp32")
    began = time.monotonic()
    engine.load()
    figures: Figures = {"build, s": time.monotonic() - began}
    given, expected = (infer(one, scene.rows(3), scene.blocks) for one in (engine, exact))
    apart = logits_apart(given, expected), gates_apart(scene.model(), given, expected)
    figures["logits"] = require_close("logits", apart[0], LOGITS_APART["fp16"])
    figures["gates"] = require_close("gates", apart[1], GATES_APART["fp16"])
    return figures


def service(scene: Scene) -> Figures:
    """Serve over HTTP on the GPU: ready, a picture with masks, a stop in good order."""
    flags = ("--device", scene.device.type, "--cache-dir", str(scene.cache))
    scene.model()
    began = time.monotonic()
    with ready(
        scene.store, *flags, "--max-batch", str(scene.max_batch), engine="compiled"
    ) as served:
        figures: Figures = {"ready, s": time.monotonic() - began}
        reply = httpx.post(
            f"{served.address}/v1/predict?masks=last",
            content=PICTURE.read_bytes(),
            headers=PNG,
            timeout=MINUTE_S,
        )
        reply.raise_for_status()
        engine = reply.json()["engine"]
        figures["engine"] = str(engine)
        code = served.stop()
    if code:
        raise Wrong(f"it ended with exit code {code}")
    return figures


def marked_tests(scene: Scene) -> Figures:
    """Run the tests that are marked `gpu`."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "tests"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Wrong(ended.stdout[-1500:])
    return {"pytest": ended.stdout.strip().splitlines()[-1]}


def image(scene: Scene) -> Figures:
    """Build the image for GPUs, check it as on a CPU, and have it find the GPU."""
    engine = next((name for name in ("docker", "podman") if shutil.which(name)), None)
    if engine is None:
        raise Skipped("neither a Docker engine nor podman is here")
    subprocess.run([ROOT / "tests" / "docker" / "image_test.sh", "cuda"], check=True)
    lent = ["--gpus", "all"] if engine == "docker" else ["--device", "nvidia.com/gpu=all"]
    check = ["sge-serve", "check", "--device", "cuda"]
    ended = subprocess.run(
        [engine, "run", "--rm", *lent, "sge-serve:cuda", *check],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Wrong(ended.stdout + ended.stderr)
    return {"check": ended.stdout.strip().splitlines()[0]}


def device_loss(scene: Scene) -> Figures:
    """Break this process's context: batches are stacked still, and the engine tells the loss."""
    engine = scene.eager("fp32")
    infer(engine, scene.rows(1))
    beyond = torch.tensor([1 << 20], device=scene.device)
    torch.zeros(1, device=scene.device).index_select(0, beyond)  # an assertion fails on the GPU
    batch = engine.collate(scene.rows(2))
    try:
        engine.infer(batch, frozenset())
    except EngineLost as loss:
        return {"told": loss.message.splitlines()[0]}
    raise Wrong("a lost GPU goes on to answer")


STEPS = (
    Step("machine", machine),
    Step("build", build, 40 * MINUTE_S),
    Step("capture", capture),
    Step("parity", parity),
    Step("masks", masks),
    Step("out_of_memory", out_of_memory),
    Step("throughput", throughput, 30 * MINUTE_S),
    Step("service", service),
    Step("marked_tests", marked_tests, 40 * MINUTE_S),
    Step("tensorrt", tensorrt, 90 * MINUTE_S),
    Step("device_loss", device_loss),
    Step("image", image, 90 * MINUTE_S),
)
