"""Profiles of the partners. About one ride in forty is declined by the first three, which are asked by default."""

from collections.abc import Mapping

from prebook.fleets.partners.conditions import CONDITIONS
from prebook.fleets.partners.simulation import Partner, PartnerCall, PartnerProfile, WireFormat
from prebook.fleets.partners.wire_formats import ADA, BOREALIS, CARGO, DELTA

PARTNERS: tuple[tuple[PartnerProfile, WireFormat], ...] = (
    (PartnerProfile("ada", 0.80, 0.005, 0.020, 3, 12), ADA),
    (PartnerProfile("borealis", 0.70, 0.010, 0.040, 2, 15), BOREALIS),
    (PartnerProfile("cargo", 0.60, 0.020, 0.080, 5, 20, corruption_rate=0.005), CARGO),
    (PartnerProfile("delta", 0.75, 0.010, 0.030, 4, 18), DELTA),
)


def partners(seed: int) -> Mapping[str, PartnerCall]:
    """Call function of each partner, by fleet name, in its present condition; ``seed`` determines all decisions."""
    return {
        profile.name: CONDITIONS.apply(profile.name, Partner(profile, wire_format, seed).call)
        for profile, wire_format in PARTNERS
    }
