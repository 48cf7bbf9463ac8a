"""What an operator decides: variables and flags in, frozen settings out.

The only reader of the environment, and below every other room. It checks that a value can be meant,
and never what this machine or this store makes of it.
"""

from service.config.doors import Door
from service.config.grpc import quiet_grpc
from service.config.names import ENV_PREFIX, RENAMED, describe_invalid, flag_of, variable_of
from service.config.openmp import bound_openmp_waiting
from service.config.settings import DeviceName, EngineName, Precision, Settings, flags_of
from service.config.store import shares_of
from service.config.terminal import refuses_colours
from service.config.tracing import TraceSettings, find_trace_settings
from service.config.values import (
    LONGEST_NAME,
    LONGEST_TIMEOUT_MS,
    LONGEST_VERSION,
    NAME_PATTERN,
    VERSION_PATTERN,
    is_name,
    is_version,
)

__all__ = [
    "ENV_PREFIX",
    "LONGEST_NAME",
    "LONGEST_TIMEOUT_MS",
    "LONGEST_VERSION",
    "NAME_PATTERN",
    "RENAMED",
    "VERSION_PATTERN",
    "DeviceName",
    "Door",
    "EngineName",
    "Precision",
    "Settings",
    "TraceSettings",
    "bound_openmp_waiting",
    "describe_invalid",
    "find_trace_settings",
    "flag_of",
    "flags_of",
    "is_name",
    "is_version",
    "quiet_grpc",
    "refuses_colours",
    "shares_of",
    "variable_of",
]
