"""docker/Dockerfile, as far as it can be judged without building it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")
TORCH = "torch"
HEADERS = {"nvidia-cuda-cccl", "nvidia-cuda-crt"}  # the extra [cuda], which a CPU has no use for


def pins() -> dict[str, set[str]]:
    """The packages of requirements.lock, each with those that ask for it."""
    asked_by: dict[str, set[str]] = {}
    name = ""
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if pin := re.match(r"([\w-]+)==", line):
            name = pin[1]
            asked_by[name] = set()
        elif asker := re.match(r"    #(?: via)? +(?!via$)([\w-]+)", line):
            asked_by[name].add(asker[1])
    return asked_by


def stages() -> list[str]:
    """The names of the stages, in their order."""
    return re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)


def test_hadolint_finds_no_fault() -> None:
    """The Dockerfile follows the rules that docker/hadolint.yaml leaves on."""
    done = subprocess.run(
        [HADOLINT, "--no-color", "--config", "docker/hadolint.yaml", DOCKERFILE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_cuda_is_the_default_and_cpu_is_there() -> None:
    """A build that names no target takes the last stage."""
    assert stages()[-2:] == ["cpu", "cuda"]


def test_other_wheels_of_torch_leave_out_the_pins_of_cuda_and_nothing_else() -> None:
    """The filter takes what only CUDA's torch asks for, and nothing that another package needs."""
    (pattern,) = re.findall(r"sed -i -E '/(\S+)/d'", DOCKERFILE.read_text("utf-8"))
    dropped = {name for name in pins() if re.search(pattern, f"{name}==1")}
    kept = pins().keys() - dropped

    assert {name for name in dropped - HEADERS if not pins()[name] <= dropped | {TORCH}} == set()
    assert {name for name in kept if pins()[name] and pins()[name] <= dropped} == set()
    assert {"nvidia-cublas", "cuda-toolkit", "triton"} <= dropped
    assert len(kept) > len(dropped)


def test_the_application_is_built_with_all_that_its_build_needs() -> None:
    """Nothing is fetched but what builds the package, and that with the versions of the lock."""
    (pattern,) = re.findall(r"grep -E '(\S+)' requirements.lock", DOCKERFILE.read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.split("[>=]", wish)[0] for wish in project["build-system"]["requires"]}
    for _ in pins():  # as deep as a chain can be
        needed |= {name for name, askers in pins().items() if askers & needed}

    assert {name for name in pins() if re.search(pattern, f"{name}==1")} == needed


def test_what_the_build_copies_is_let_into_its_context() -> None:
    """.dockerignore lets in what COPY names, and names nothing that no COPY takes."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)

    assert {source for copied in copies for source in copied.split()} == let_in
