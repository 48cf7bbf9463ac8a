#!/usr/bin/env bash
# Make a virtual environment with KServe's Python client: get_kserve_client.sh FOLDER
# It asks for an older protobuf than the service has, so it gets a place of its own: 230 MB, some 20 s.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
python=$here/../../.venv/bin/python

"$python" -m venv --clear --without-pip "$1"
"$python" -m pip --python "$1/bin/python" --disable-pip-version-check --quiet install --no-compile --no-deps \
    --requirement "$here/kserve-client.lock"
"$1/bin/python" -c 'import kserve'
