"""Settings: the only reader of the environment.

Every setting is a variable `SGE_<NAME>` and a flag `--<name>` of `sge-serve serve`; a flag wins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.config.doors import DoorSettings
from service.config.names import ENV_PREFIX, RENAMED, flag_of, variable_of
from service.config.store import StoreSettings
from service.config.values import LONGEST_TIMEOUT_MS, LONGEST_TIMEOUT_S, UserPath

EngineName = Literal["auto", "eager", "compiled", "int8", "tensorrt", "stub"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
DeviceName = Literal["auto", "cpu", "cuda"]


class Settings(DoorSettings, StoreSettings, BaseSettings):
    """What an operator decides; frozen once read."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

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
    cache_dir: UserPath = Field(
        Path("~/.cache/sge-serve"), description="folder where compiled engines are kept"
    )
    cache_limit_mb: float = Field(
        8000.0,
        gt=0,
        description="what each kind of engine may keep there, in megabytes; beyond it the "
        "longest unused is removed",
    )
    calibration_dir: UserPath | None = Field(
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
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=LONGEST_TIMEOUT_S,
        description="how long before that it takes requests as ever while /readyz says 503, so "
        "that balancers turn away; less where nobody is connected",
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
        288.0,
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

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error: the least severe lines written"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        description="json, one object a line, or console, for a person; auto is console where "
        "standard error is a terminal, else json",
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        variables = {name.upper() for name in os.environ}  # read whatever their case
        for old, new in RENAMED.items():
            if old in given or variable_of(old) in variables:
                raise ValueError(f"{variable_of(old)} is called {variable_of(new)} now")
        return given

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


def flags_of(settings: Settings) -> list[str]:
    """The flags by which another process has the same settings, whatever its environment says.

    What is not set has no flag: the other process shares this one's environment.
    """
    return [
        f"{flag_of(name)}={','.join(value) if isinstance(value, tuple) else value}"
        for name, value in settings
        if value is not None
    ]
