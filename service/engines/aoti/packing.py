"""Weights of convolutions in the order in which oneDNN reads them, for programs of any batch.

torch's compiler packs weights only where it knows the batch; where it does not, every pass packs
them anew, which costs a small network half of a pass of one image (`decisions/0007`). The order
depends on the batch only where oneDNN takes another algorithm for it, so it can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import Graph, Node

ASKED_BATCHES = (2, 3, 8, 16)  # where they agree, one order serves every batch of several images

_CONVOLUTION = torch.ops.mkldnn._convolution_pointwise.default  # noqa: SLF001
_reorder = torch.ops.mkldnn._reorder_convolution_weight  # noqa: SLF001
_order_of = torch.ops.mkldnn._get_mkldnn_serialized_md  # noqa: SLF001


@dataclass(slots=True)
class Packing:
    """What became of a program's convolutions.

    Attributes:
        packed: whose weights were packed.
        left: that oneDNN reads in several orders, by the batch; each pass packs their weights.
        differs_for_one: whether it reads any of them otherwise for a batch of one.
    """

    packed: int = 0
    left: int = 0
    differs_for_one: bool = False


def packing_pass(packing: Packing) -> Callable[[Graph], None]:
    """Make a pass of torch's compiler over the graph of a program whose weights are frozen.

    Args:
        packing: is filled in.
    """

    def pack_all(graph: Graph) -> None:
        with unset_fake_temporarily():
            for node in graph.find_nodes(op="call_function", target=_CONVOLUTION):
                _pack(graph, node, packing)

    return pack_all


def _pack(graph: Graph, node: Node, packing: Packing) -> None:
    pixels, weight, _, padding, stride, dilation, groups = node.args[:7]
    module = graph.owning_module
    if module is None or not isinstance(pixels, Node) or not isinstance(weight, Node):
        raise TypeError(f"{node.format_node()} is no convolution of a frozen program")
    batch, *sizes = pixels.meta["val"].shape
    if isinstance(batch, int):  # the compiler has packed it
        return
    raw: Tensor = attrgetter(str(weight.target))(module)

    def packed_for(images: int) -> Tensor:
        found: Tensor = _reorder(raw, padding, stride, dilation, groups, [images, *sizes])
        return found

    packed = packed_for(ASKED_BATCHES[0])
    packing.differs_for_one |= not _are_alike(packed, [packed_for(1)])
    if not _are_alike(packed, [packed_for(images) for images in ASKED_BATCHES[1:]]):
        packing.left += 1
        return
    packing.packed += 1
    name = f"packed_{weight.name}"
    module.register_buffer(name, packed)
    with graph.inserting_before(node):
        constant = graph.get_attr(name)
    constant.meta.update(weight.meta)
    node.update_arg(1, constant)


def _are_alike(packed: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether oneDNN has put the same weights into the same order."""
    order = _order_of(packed)
    return all(torch.equal(_order_of(other), order) for other in others)
