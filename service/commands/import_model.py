"""`sge-serve import`: a checkpoint of anybody's -> a version in the model store."""

from __future__ import annotations

from collections.abc import Callable

from service.commands.importing.expectations import check_expectations, read_expectation
from service.commands.importing.plan import ImportPlan, plan_import
from service.commands.importing.report import describe_plan, next_step
from service.commands.importing.request import ImportRequest
from service.config import Settings
from service.engines.calibration import image_limits
from service.images.contract import ImageLimits

Say = Callable[[str], None]


def run(settings: Settings, request: ImportRequest, say: Say) -> int:
    """Say what is imported, check it, and write it unless only a report is asked for.

    Returns:
        0: whatever goes wrong is raised.

    Raises:
        ServiceError: see `plan_import` and `check_answers`; or the store cannot be written.
    """
    plan = plan_import(request, settings.model_store)
    for line in describe_plan(plan):
        say(line)
    for answer in check_answers(plan, image_limits(settings)):
        say(f"answers       {answer}")
    if request.is_dry_run:
        say(f"nothing is written; without --dry-run it would be {plan.encoded.directory}")
    else:
        say(f"imported {plan.encoded.write()}")
    say(next_step(plan, settings.model_store))
    return 0


def check_answers(plan: ImportPlan, limits: ImageLimits) -> list[str]:
    """Classify the pictures whose class is said, and say what was answered.

    Raises:
        BadRequest: an expectation is not `PICTURE=CLASS`, or names no class.
        MissingFile: a picture cannot be read.
        BadInput: a picture cannot be decoded.
        BadCheckpoint: an answer is another than is expected.
    """
    expectations = [read_expectation(text, plan.labels.names) for text in plan.request.expected]
    return check_expectations(plan.model, expectations, limits)
