"""The network of a version as its file has it: held while engines are made of it, then let go."""

from __future__ import annotations

from collections.abc import Callable

from service.model.resnet import SgeResNet


class ReferenceNetwork:
    """Holds a network that was read until it is released; whoever needs it later reads it again.

    Engines run copies of their own, so that it would be a copy of the weights that nobody uses.

    Args:
        network: what was read.
        read: reads it again.
    """

    def __init__(self, network: SgeResNet, read: Callable[[], SgeResNet]) -> None:
        self.weight_bytes: int = sum(value.nbytes for value in network.state_dict().values())
        self._network: SgeResNet | None = network
        self._read = read

    def get(self) -> SgeResNet:
        """The network, read again where it was released.

        Raises:
            StoreError: its files have gone or changed meanwhile.
        """
        network = self._network  # another thread may release it now
        return self._read() if network is None else network

    def release(self) -> None:
        """Let go of the network."""
        self._network = None
