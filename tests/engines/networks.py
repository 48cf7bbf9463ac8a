"""Networks that export in seconds and hold every operation of the whole ones."""

from __future__ import annotations

import functools
from dataclasses import replace

from service.model.resnet import ARCHITECTURES, Depth, ResNetSpec, SgeResNet
from service.store.load import LoadedModel
from service.store.manifest import Manifest
from service.store.reference import ReferenceNetwork
from tests.running import tiny_model
from tests.store_fixtures import TINY, random_network


class ShortSpec(ResNetSpec):
    """One block in each stage: the operations of the whole network, fewer times."""

    @property
    def depth(self) -> Depth:
        """The architecture's block, once a stage."""
        return ARCHITECTURES[self.architecture]._replace(repeats=(1, 1, 1, 1))


BASIC = ShortSpec(
    architecture="sge_resnet18", classes=TINY.classes, groups=8, input_px=32, stem="small"
)
BOTTLENECKS = ShortSpec(architecture="sge_resnet50", classes=3, groups=64, input_px=64)
EVERY_BLOCK = frozenset(block.name for block in BASIC.blocks())


class ShortManifest(Manifest):
    """The manifest of a short network, which no name of an architecture stands for."""

    @property
    def spec(self) -> ResNetSpec:
        """The shapes of the short network."""
        return ShortSpec(
            architecture=self.architecture,
            classes=self.classes,
            groups=self.groups,
            input_px=self.input.size_px,
            stem=self.stem,
        )


def model_of(spec: ResNetSpec) -> LoadedModel:
    """A model of a short network as the store would give it."""
    model = tiny_model()
    shapes = {
        "architecture": spec.architecture,
        "groups": spec.groups,
        "stem": spec.stem,
        "input": {"size_px": spec.input_px, "fit": "fit"},
    }
    manifest = ShortManifest.model_validate(model.manifest.model_dump() | shapes)
    read = functools.partial(random_network, SgeResNet, spec)
    return replace(model, manifest=manifest, reference=ReferenceNetwork(read(), read))


@functools.cache
def short_model() -> LoadedModel:
    """A model of `BASIC`: not to be changed."""
    return model_of(BASIC)
