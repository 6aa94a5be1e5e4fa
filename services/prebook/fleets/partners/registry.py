"""Who the partners are. About one ride in forty is declined by all three."""

from collections.abc import Mapping

from prebook.fleets.partners.simulation import Ask, Character, Language, Partner
from prebook.fleets.partners.wire_formats import ADA, BOREALIS, CARGO

ROSTER: tuple[tuple[Character, Language], ...] = (
    (Character("ada", 0.80, 0.005, 0.020, 3, 12), ADA),
    (Character("borealis", 0.70, 0.010, 0.040, 2, 15), BOREALIS),
    (Character("cargo", 0.60, 0.020, 0.080, 5, 20, garbles=0.005), CARGO),
)


def partners(seed: int) -> Mapping[str, Ask]:
    return {character.name: Partner(character, language, seed).ask for character, language in ROSTER}
