"""Settings: what cannot be meant is refused, and the reason given."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from service.config import Settings, describe_invalid


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"SGE_PORT": "tcp://10.0.0.1:80"},
            "Kubernetes sets it so for a service called sge or sge-grpc: give that another name",
        ),
        ({"SGE_TLS_CERT_FILE": "a.pem"}, "SGE_TLS_CERT_FILE and SGE_TLS_KEY_FILE go together"),
        ({"SGE_TRUSTED_PROXIES": "proxy"}, "SGE_TRUSTED_PROXIES=proxy: 'proxy' does not appear"),
        (
            {"SGE_CLOSED": "docs,door"},
            "SGE_CLOSED=docs,door: 'door' is none of docs, metrics, page, statistics",
        ),
        (
            {"SGE_VERSION_WEIGHTS": "a/1=95%"},
            "SGE_VERSION_WEIGHTS=a/1=95%: 'a/1=95%' is not of the form NAME/VERSION=SHARE",
        ),
        ({"SGE_VERSION_WEIGHTS": "a/1=0,b/1=1"}, "no version of a has a share above 0"),
        ({"SGE_VERSION_WEIGHTS": "a/1=1,a/1=2"}, "a version has one share"),
        (
            {"SGE_VERSION_WEIGHTS": "a/01=5"},
            "SGE_VERSION_WEIGHTS=a/01=5: 'a/01=5' is not of the form NAME/VERSION=SHARE",
        ),
        (
            {"SGE_MODELS": "a,a/v4"},
            "SGE_MODELS=a,a/v4: 'a/v4' is not of the form NAME or NAME/VERSION",
        ),
        ({"SGE_MODELS": "a/"}, "'a/' is not of the form NAME or NAME/VERSION"),
        ({"SGE_MODELS": "../a/1"}, "'../a/1' is not of the form NAME or NAME/VERSION"),
        ({"SGE_MODELS": "a/1234567890"}, "'a/1234567890' is not of the form NAME or NAME/VERSION"),
        ({"SGE_MODEL_NAME": "My Model"}, "SGE_MODEL_NAME=My Model: String should match pattern"),
        ({"SGE_STORE_POLL_S": "0"}, "SGE_STORE_POLL_S=0: Input should be greater than 0"),
        ({"SGE_ROOT_PATH": "sge/"}, "SGE_ROOT_PATH=sge/: String should match pattern"),
    ],
)
def test_a_wrong_setting_says_why(
    variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that names the variable, its value and what is allowed."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError) as refused:
        Settings()

    assert reason in describe_invalid(refused.value)


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "")],
)
def test_threads_of_a_pass_wait_awake_for_a_moment_only(given: dict[str, str], spins: str) -> None:
    """Every command says so before torch is loaded, and whoever set it otherwise is heard."""
    script = (
        "import ctypes, os, sys; from service.cli import run; run(['compile', '--port=x'])\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ.get('GOMP_SPINCOUNT', ''))"
    )
    own = {k: v for k, v in os.environ.items() if k not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-c", script], env=own | given, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == spins
