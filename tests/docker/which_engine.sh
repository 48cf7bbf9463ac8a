#!/usr/bin/env bash
# Print the container engine that is here: docker, else podman.
if docker info >/dev/null 2>&1; then
    echo docker
elif command -v podman >/dev/null; then
    echo podman
else
    echo 'neither a Docker engine nor podman is here' >&2
    exit 1
fi
