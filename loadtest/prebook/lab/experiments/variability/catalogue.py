"""Catalogue of variations, in the order in which `prebook lab coupling` runs them."""

from prebook.lab.experiments.variability.form_variations import FORM_VARIATIONS
from prebook.lab.experiments.variability.site_variations import SITE_VARIATIONS
from prebook.lab.experiments.variability.variation import Dimension, NotMeasurable, Side, Variation

VARIATIONS: tuple[Variation, ...] = (*SITE_VARIATIONS, *FORM_VARIATIONS)

NOT_MEASURABLE: tuple[NotMeasurable, ...] = (
    NotMeasurable(
        dimension=Dimension.STYLE,
        side=Side.PROVIDER,
        reason="a provider serves all couplings at once; the plan that travels with a request chooses one",
    ),
    NotMeasurable(
        dimension=Dimension.CONVERSATION,
        side=Side.PROVIDER,
        detail="cache and pages",
        reason="no flow has a reply that is cached, or split into pages",
    ),
    NotMeasurable(
        dimension=Dimension.TOPOLOGY,
        side=Side.CALLER,
        reason="a flow has one caller: a second one is a change of the topology model, without which broker and "
        "provider refuse it",
    ),
)
