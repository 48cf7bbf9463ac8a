"""Settings of the doors: connections, who is let in, what is shut, and by which names."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from service.config.values import LONGEST_TIMEOUT_S, CommaList, UserPath

Door = Literal["docs", "metrics", "page", "statistics"]
"""What an operator may shut."""


def _name_the_cluster(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("tcp://"):
        raise ValueError(
            "Kubernetes sets it so for a service called sge or sge-grpc: give that another name, "
            "or set enableServiceLinks: false"
        )
    return value


def _require_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in value:
        if value != ("*",):
            ipaddress.ip_network(proxy)
    return value


def _require_doors(value: tuple[str, ...]) -> tuple[str, ...]:
    doors = get_args(Door)
    for name in value:
        if name not in doors:
            raise ValueError(f"{name!r} is none of {', '.join(doors)}")
    return value


Port = Annotated[int, BeforeValidator(_name_the_cluster)]
Networks = Annotated[CommaList, AfterValidator(_require_networks)]
Doors = Annotated[CommaList, AfterValidator(_require_doors)]


class DoorSettings(BaseModel):
    """What stands between a client and the application."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    grpc_port: Port | None = Field(
        None,
        ge=0,
        le=65535,
        description="port on which the same address answers the Open Inference Protocol over gRPC; "
        "0 takes a free one, without it none does",
    )
    grpc_connection_age_s: float = Field(
        0.0,
        ge=0,
        le=LONGEST_TIMEOUT_S,
        description="after how long a connection of gRPC's is to be replaced by its client, give "
        "or take a tenth, so that new pods get a share where a balancer distributes connections; "
        "its calls have SGE_DRAIN_TIMEOUT_S to end; 0: never",
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
        "oldest that is not being answered is closed",
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
        description="how long a handshake of TLS may take, a new connection may say nothing, a "
        "head may take to arrive, and a client that has its answer may go on sending; half a "
        "head is refused with 408",
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
    trusted_proxies: Networks = Field(
        (),
        description="comma list of addresses or networks whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed; * trusts everybody",
    )
    allowed_hosts: CommaList = Field(
        (), description="comma list of names that Host may have; empty allows every one"
    )
    cors_origins: CommaList = Field(
        (),
        description="comma list of origins whose scripts may use the service from a browser; "
        "* allows every one",
    )
    tls_cert_file: UserPath | None = Field(
        None, description="certificate chain in PEM; with its key the service speaks HTTPS alone"
    )
    tls_key_file: UserPath | None = Field(
        None, description="private key of the certificate, in PEM"
    )
    api_keys_file: UserPath | None = Field(
        None,
        description="file of the keys of which clients need one, as sge-serve key new writes it; "
        "without it nobody needs one",
    )
    admin_key_file: UserPath | None = Field(
        None,
        description="file of the keys that may load and unload models, in the same form; without "
        "it nobody may",
    )
    closed: Doors = Field(
        (), description="comma list of docs, metrics, page and statistics: what answers with 404"
    )

    @model_validator(mode="after")
    def _require_both_of_tls(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("SGE_TLS_CERT_FILE and SGE_TLS_KEY_FILE go together, one is missing")
        return self

    @model_validator(mode="after")
    def _require_two_ports(self) -> Self:
        if self.port and self.port == self.grpc_port:
            raise ValueError(
                f"SGE_PORT and SGE_GRPC_PORT are both {self.port}: each listens on its own"
            )
        return self
