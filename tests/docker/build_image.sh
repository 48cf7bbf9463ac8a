#!/usr/bin/env bash
# Build an image, sge-serve:cpu or sge-serve:cuda: build_image.sh [cpu|cuda], with docker, or podman where there is none.
# BUILD_FLAGS reach the build: BUILD_FLAGS="--build-arg TORCH_INDEX=..." tests/docker/build_image.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${1:-cpu}
engine=$(tests/docker/which_engine.sh)
export BUILDAH_FORMAT=docker # podman's other format knows no health checks
read -ra flags <<<"${BUILD_FLAGS:-}"
"$engine" build --file docker/Dockerfile --target "$target" --tag "sge-serve:$target" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" "${flags[@]}" .
