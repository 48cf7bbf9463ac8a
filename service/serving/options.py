"""What a request asks of each image, and what that comes to."""

from __future__ import annotations

from dataclasses import dataclass

from service.model.resnet import FEATURES
from service.results.attribution import AttributionRequest
from service.results.attribution_request import parse_classes
from service.results.map_cost import MapCost, cost_of_image, cost_of_maps
from service.results.mask_request import MaskRequest, cost_of, parse_blocks, parse_groups
from service.results.query import PredictQuery
from service.serving.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of each image.

    Attributes:
        top_k: how many predictions.
        masks: which masks.
        attribution: for which classes; None for none.
        shows_input: whether the picture as the model saw it is answered.
    """

    top_k: int
    masks: MaskRequest
    attribution: AttributionRequest | None = None
    shows_input: bool = False

    @property
    def extras(self) -> frozenset[str]:
        """What an engine has to give beside logits."""
        return frozenset(self.masks.blocks) | ({FEATURES} if self.attribution else set())

    @property
    def draws(self) -> bool:
        """Whether anything is asked for that takes longer than a list of classes."""
        return bool(self.extras) or self.shows_input

    def cost(self, model: ServedModel) -> MapCost:
        """Tell what maps, pictures and classes come to for each image."""
        spec, side_px = model.loaded.manifest.spec, model.loaded.manifest.input.size_px
        cost = cost_of(self.masks, model.blocks, side_px)
        classes = min(self.top_k, len(model.loaded.labels))
        cost += model.class_names.cost_of(classes)
        if self.attribution is not None:
            *_, height, width = spec.features_shape
            maps, form = self.attribution.classes.count, self.attribution.format
            cost += cost_of_maps(maps, height * width, form, side_px)
            cost += model.class_names.cost_of(maps)
        return cost + cost_of_image(side_px) if self.shows_input else cost


def read_options(query: PredictQuery, model: ServedModel) -> Options:
    """Read what a query asks of a model.

    Raises:
        BadRequest: blocks, groups or classes that the model does not have.
    """
    masks = MaskRequest(
        blocks=parse_blocks(query.masks, model.blocks),
        groups=parse_groups(query.groups, model.loaded.manifest.groups),
        kind=query.mask_kind,
        format=query.mask_format,
    )
    classes = parse_classes(query.attribution, model.class_names)
    attribution = None if classes is None else AttributionRequest(classes, query.mask_format)
    return Options(query.top_k, masks, attribution, shows_input=query.input)
