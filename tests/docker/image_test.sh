#!/usr/bin/env bash
# Build an image and check it running: image_test.sh [cpu|cuda], as build_image.sh builds it; with BUILT=1 it is
# there already.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${1:-cpu}
[ -n "${BUILT:-}" ] || tests/docker/build_image.sh "$target"
ENGINE=$(tests/docker/which_engine.sh)
export ENGINE IMAGE=sge-serve:$target BUILDAH_FORMAT=docker
.venv/bin/python -m pytest -m docker tests/docker tests/kubernetes
