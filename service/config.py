"""Settings: the only reader of the environment.

Every setting is a variable `SGE_<NAME>` and a flag `--<name>` of `sge-serve serve`; a flag wins.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

EngineName = Literal["auto", "eager", "compiled", "int8", "tensorrt", "stub"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
DeviceName = Literal["auto", "cpu", "cuda"]

ENV_PREFIX = "SGE_"
RENAMED = {  # what a setting was called, and is
    "queue_limit": "max_in_flight",
    "bodies_limit_mb": "bodies_in_flight_mb",
    "default_deadline_ms": "default_timeout_ms",
    "decode_threads": "decode_workers",
}
OPENMP_SPINS = "3000"  # 30 microseconds, about what it costs to sleep and be woken instead
LONGEST_TIMEOUT_S = 86_400  # a day; event loops cannot set an alarm at infinity
LONGEST_TIMEOUT_MS = LONGEST_TIMEOUT_S * 1000


class Settings(BaseSettings):
    """What an operator decides; frozen once read."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")

    model_store: Path = Field(Path("model_store"), description="folder of the models")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma list of name or name/version to serve; empty serves every model"
    )
    default_model: str | None = Field(
        None, description="model of requests that name none; needed where several are served"
    )

    engine: EngineName = Field(
        "auto",
        description="auto, eager, compiled, int8, tensorrt or stub; auto is tensorrt on a GPU "
        "where it is installed, else compiled",
    )
    precision: Precision = Field(
        "auto", description="auto, fp32, bf16 or fp16; auto takes what the device computes natively"
    )
    device: DeviceName = Field(
        "auto", description="auto, cpu or cuda; auto takes cuda where there is one"
    )
    tiered: bool = Field(
        True, description="answer on the eager engine while the compiled one is being built"
    )
    threads: int = Field(
        0,
        ge=0,
        description="threads of one forward pass on a CPU; 0: one a core that the process may use",
    )
    cache_dir: Path = Field(
        Path("~/.cache/sge-serve"), description="folder where compiled engines are kept"
    )
    cache_limit_mb: float = Field(
        8000.0,
        gt=0,
        description="what each kind of engine may keep there, in megabytes; beyond it the "
        "longest unused is removed",
    )
    calibration_dir: Path | None = Field(
        None, description="folder of pictures by which int8 is calibrated when it is built"
    )

    max_batch: int = Field(16, ge=1, le=1024, description="images in the largest batch")
    window_ms: float = Field(
        0.0, ge=0, le=10_000, description="how long a first image waits for others to join it"
    )
    max_in_flight: int = Field(
        256, ge=1, description="images inside the service; one more is refused with 429"
    )
    default_timeout_ms: float = Field(
        30_000,
        gt=0,
        le=LONGEST_TIMEOUT_MS,
        description="for how long an answer is of use where its request does not say, in "
        "milliseconds",
    )
    hang_timeout_s: float = Field(
        120.0,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="how long the engine may run before it counts as hung and is restarted; "
        "longer than it takes to warm up",
    )
    drain_timeout_s: int = Field(
        30, ge=0, description="how long a stopping service works on what it has accepted"
    )

    body_limit_mb: float = Field(32.0, gt=0, description="largest request body, in megabytes")
    bodies_in_flight_mb: float = Field(
        256.0,
        gt=0,
        description="bodies of all requests inside the service, in megabytes; "
        "beyond it they are refused with 429",
    )
    body_timeout_s: float = Field(
        15.0,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="how long a request's body may take to arrive; "
        "a slower one is refused with 408",
    )
    image_limit_mb: float = Field(16.0, gt=0, description="largest encoded image, in megabytes")
    pixel_limit_mp: float = Field(40.0, gt=0, description="largest image, in megapixels")
    decoded_limit_mb: float = Field(
        256.0,
        gt=0,
        description="memory that decoding takes at one time, over all images, in megabytes; an "
        "image that takes more is refused with 413",
    )
    decode_cpu_s: float = Field(
        5.0,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="processor time that decoding one image may take; it is refused with 413 then",
    )
    images_per_request: int = Field(32, ge=1, description="images in one request")
    mask_pictures: int = Field(
        256, ge=1, description="mask pictures (png, overlay) that one request may ask for"
    )
    answer_limit_mb: float = Field(
        64.0, gt=0, description="masks in one answer, in megabytes as they are sent"
    )
    decode_workers: int = Field(
        0,
        ge=0,
        description="processes that decode, and threads that draw; 0: one a core that the process "
        "may use",
    )

    max_connections: int = Field(
        2048,
        ge=1,
        description="open connections; those beyond are for probes alone, and others get 503",
    )
    probe_connections: int = Field(
        32,
        ge=1,
        description="connections kept for probes beside them; where those are taken, too, the "
        "oldest is closed",
    )
    head_limit_kb: float = Field(
        32.0,
        gt=0,
        description="largest head of a request, in kilobytes; a larger one is refused with 431",
    )
    head_timeout_s: float = Field(
        10.0,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="how long a new connection may say nothing, a head may take to arrive, and a "
        "client that has its answer may go on sending; half a head is refused with 408",
    )
    keep_alive_s: float = Field(
        75.0,  # longer than the 60 s of common load balancers, so that they close first
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="how long a connection stays open between requests",
    )
    answer_timeout_s: float = Field(
        30.0,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="how long a client may take next to nothing of an answer; its connection is "
        "closed then",
    )
    unread_answers_mb: float = Field(
        256.0,
        gt=0,
        description="answers that clients have not read yet, over all connections, in megabytes; "
        "beyond it those that read slowest are closed",
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[\w.~-]+)*$",
        description="path under which a proxy offers the service, such as /sge",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="comma list of addresses or networks whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed; * trusts everybody",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma list of names that Host may have; empty allows every one"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="comma list of origins whose scripts may use the service from a browser; "
        "* allows every one",
    )
    tls_cert_file: Path | None = Field(
        None, description="certificate chain in PEM; with its key the service speaks HTTPS alone"
    )
    tls_key_file: Path | None = Field(None, description="private key of the certificate, in PEM")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error: the least severe lines written"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="json, one object a line, or console, for a person"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        variables = {name.upper() for name in os.environ}  # read whatever their case
        for old, new in RENAMED.items():
            if old in given or variable_of(old) in variables:
                raise ValueError(f"{variable_of(old)} is called {variable_of(new)} now")
        return given

    @field_validator("models", "trusted_proxies", "allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("port", mode="before")
    @classmethod
    def _name_the_cluster(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError(
                "Kubernetes sets it so for a service called sge: give that another name, or set "
                "enableServiceLinks: false"
            )
        return value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _require_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            if value != ("*",):
                ipaddress.ip_network(proxy)
        return value

    @field_validator(
        *("model_store", "cache_dir", "calibration_dir"),
        *("tls_cert_file", "tls_key_file"),
        mode="after",
    )
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()

    @model_validator(mode="after")
    def _require_both_of_tls(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("SGE_TLS_CERT_FILE and SGE_TLS_KEY_FILE go together, one is missing")
        return self

    @property
    def cache_limit_bytes(self) -> int:
        """What each kind of engine may keep, in bytes."""
        return int(self.cache_limit_mb * 1_000_000)

    @property
    def images_limit(self) -> int:
        """The most images in one request: never more than the service holds at all."""
        return min(self.images_per_request, self.max_in_flight)

    @property
    def body_limit_bytes(self) -> int:
        """The largest request body in bytes: never more than the service holds at all."""
        return min(int(self.body_limit_mb * 1_000_000), self.bodies_in_flight_bytes)

    @property
    def bodies_in_flight_bytes(self) -> int:
        """The bytes of all bodies inside the service."""
        return int(self.bodies_in_flight_mb * 1_000_000)

    @property
    def image_limit_bytes(self) -> int:
        """The largest encoded image in bytes."""
        return int(self.image_limit_mb * 1_000_000)

    @property
    def decoded_limit_bytes(self) -> int:
        """The memory that decoding takes at one time."""
        return int(self.decoded_limit_mb * 1_000_000)

    @property
    def pixel_limit(self) -> int:
        """The largest image in pixels."""
        return int(self.pixel_limit_mp * 1_000_000)


def bound_openmp_waiting() -> None:
    """Let a thread of a forward pass that waits for another one give its core away soon.

    GNU's OpenMP waits awake for 3 ms at each of a hundred loops of a pass, also while the thread it
    waits for has no core, as decoding or another process has it: a pass takes ten times as long
    then. Whoever sets one of OpenMP's own variables is heard. To be called before torch is loaded,
    with which OpenMP reads them.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", OPENMP_SPINS)


def variable_of(name: str) -> str:
    """The variable that sets a setting."""
    return f"{ENV_PREFIX}{name.upper()}"


def flag_of(name: str) -> str:
    """The flag that sets a setting."""
    return f"--{name.replace('_', '-')}"


def flags_of(settings: Settings) -> list[str]:
    """The flags by which another process has the same settings, whatever its environment says.

    What is not set has no flag: the other process shares this one's environment.
    """
    return [
        f"{flag_of(name)}={','.join(value) if isinstance(value, tuple) else value}"
        for name, value in settings
        if value is not None
    ]


def describe_invalid(error: ValidationError, name_of: Callable[[str], str] = variable_of) -> str:
    """Say in one line which values are wrong, what they were and what is allowed.

    Args:
        error: of settings or of anything else that a person sets.
        name_of: what that person calls a field.
    """
    parts = []
    for detail in error.errors():
        reason = detail["msg"].removeprefix("Value error, ")
        name = ".".join(str(step) for step in detail["loc"])
        parts.append(f"{name_of(name)}={detail['input']}: {reason}" if name else reason)
    return "; ".join(parts)
