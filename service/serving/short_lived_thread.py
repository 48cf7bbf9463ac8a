"""A thread for what computes once: the machine's cores are left to the thread that owns the device.

torch computes with OpenMP, which keeps a team of threads for each thread that has ever computed.
Once the teams together have more threads than there are cores, GNU's OpenMP lets them sleep at the
end of each parallel loop rather than wait awake, and a network has a hundred of those: its forward
pass took 1.4 to 2 times as long beside a second team that did nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_short_lived_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread that ends with it, and wait; what it raises is raised here."""
    with ThreadPoolExecutor(1, "passing") as pool:
        return pool.submit(function, *args, **kwargs).result()
