#!/usr/bin/env bash
# Build an image and check it running: image_test.sh [cpu|cuda], with docker, or podman where there is none.
# BUILD_FLAGS reach the build: BUILD_FLAGS="--build-arg TORCH_INDEX=..." make image-test
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${1:-cpu}
if docker info >/dev/null 2>&1; then
    engine=docker
elif command -v podman >/dev/null; then
    engine=podman
    export BUILDAH_FORMAT=docker # the other format knows no health checks
else
    echo 'neither a Docker engine nor podman is here' >&2
    exit 1
fi

read -ra flags <<<"${BUILD_FLAGS:-}"
"$engine" build --file docker/Dockerfile --target "$target" --tag "sge-serve:$target" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" "${flags[@]}" .
ENGINE=$engine IMAGE=sge-serve:$target .venv/bin/python -m pytest -m docker tests/docker
