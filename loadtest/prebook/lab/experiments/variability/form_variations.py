"""Variations of what a flow's messages say and how: format, data type, semantics."""

from collections.abc import Mapping

from prebook.contracts.plan import Coupling
from prebook.flows import FIND_DRIVER, QUOTE_FARE
from prebook.lab.experiments.variability.cell import Verdict
from prebook.lab.experiments.variability.changed_program import Change
from prebook.lab.experiments.variability.deployments import CURRENT, Release
from prebook.lab.experiments.variability.site import TrialSite
from prebook.lab.experiments.variability.variation import (
    Apply,
    Dimension,
    Expectation,
    FollowUp,
    Side,
    Variation,
    expect_all,
)

CALLER = QUOTE_FARE.caller
PROVIDER = QUOTE_FARE.provider
MSGPACK = Release({"PREBOOK_MESSAGE_FORMATS": f"{QUOTE_FARE.name}=msgpack"})
JSON_ONLY = Release(change=Change.READS_JSON_ONLY)
FIRST_VERSIONS = Release({"PREBOOK_MESSAGE_VERSIONS": f"{FIND_DRIVER.name}=1,booking_ended=1"})
KNOWS_FIRST_VERSIONS = Release(change=Change.READS_FIRST_VERSIONS_ONLY)
KEPT = "messages that cannot be read are kept, and sent again after the change of the receiver"
UNREAD: Mapping[Coupling, Expectation] = {
    **expect_all(Verdict.MUST_CHANGE, KEPT),
    Coupling.SYNC_API: Expectation(Verdict.MUST_CHANGE, "the call fails, and its ride with it"),
}
UNNOTICED = expect_all(Verdict.MUST_CHANGE, "every message can be read, and says something else: rides are wrong")


def deploy(service: str, release: Release) -> Apply:
    """Return the change by which a service gets another release."""

    async def apply(site: TrialSite) -> None:
        await site.deployments.deploy(service, release)

    return apply


def deploy_and_send_again(service: str, release: Release) -> Apply:
    """Return the change by which a service gets another release, and then what it could not read before."""

    async def apply(site: TrialSite) -> None:
        await site.deployments.deploy(service, release)
        await site.send_again()

    return apply


FORMAT_VARIATIONS: tuple[Variation, ...] = (
    Variation(
        dimension=Dimension.FORMAT,
        side=Side.CALLER,
        flow=QUOTE_FARE,
        change="writes MessagePack in place of JSON",
        apply=deploy(CALLER, MSGPACK),
        expected=expect_all(Verdict.INDEPENDENT, "the content type tells the receiver the format"),
        quick=True,
    ),
    *(
        Variation(
            dimension=Dimension.FORMAT,
            detail="unknown",
            side=side,
            flow=QUOTE_FARE,
            change=f"writes MessagePack, which {receiver} does not know",
            before={receiver: JSON_ONLY},
            apply=deploy(sender, MSGPACK),
            follow_up=FollowUp(
                f"{receiver}: a release with a decoder", deploy_and_send_again(receiver, CURRENT), files=1
            ),
            expected=UNREAD,
        )
        for side, sender, receiver in ((Side.PROVIDER, PROVIDER, CALLER), (Side.CALLER, CALLER, PROVIDER))
    ),
)

DATA_TYPE_VARIATIONS: tuple[Variation, ...] = (
    Variation(
        dimension=Dimension.DATA_TYPE,
        detail="changed",
        side=Side.PROVIDER,
        flow=QUOTE_FARE,
        change="writes amounts as decimal texts in place of integer cents",
        apply=deploy(PROVIDER, Release(change=Change.WRITES_DECIMAL_FARES)),
        follow_up=FollowUp(
            f"{CALLER}: a release that reads them",
            deploy_and_send_again(CALLER, Release(change=Change.READS_DECIMAL_FARES)),
            files=1,
        ),
        expected=UNREAD,
    ),
    Variation(
        dimension=Dimension.DATA_TYPE,
        detail="changed",
        side=Side.CALLER,
        flow=QUOTE_FARE,
        change="writes the number of passengers as a text",
        apply=deploy(CALLER, Release(change=Change.WRITES_PASSENGERS_AS_TEXT)),
        follow_up=FollowUp(
            f"{PROVIDER}: a release that reads it",
            deploy_and_send_again(PROVIDER, Release(change=Change.READS_PASSENGERS_AS_TEXT)),
            files=1,
        ),
        expected=UNREAD,
    ),
)

SEMANTICS_VARIATIONS: tuple[Variation, ...] = (
    Variation(
        dimension=Dimension.SEMANTICS,
        detail="unknown version",
        side=Side.CALLER,
        flow=FIND_DRIVER,
        change="counts seconds in place of minutes, by a new version that the receiver does not know",
        before={FIND_DRIVER.caller: FIRST_VERSIONS, FIND_DRIVER.provider: KNOWS_FIRST_VERSIONS},
        apply=deploy(FIND_DRIVER.caller, CURRENT),
        follow_up=FollowUp(
            f"{FIND_DRIVER.provider}: a release with an upcaster",
            deploy_and_send_again(FIND_DRIVER.provider, CURRENT),
            files=1,
        ),
        expected=UNREAD,
    ),
    Variation(
        dimension=Dimension.SEMANTICS,
        detail="silent",
        side=Side.PROVIDER,
        flow=QUOTE_FARE,
        change="quotes fares before their discount in the same field",
        apply=deploy(PROVIDER, Release(change=Change.QUOTES_BEFORE_DISCOUNT)),
        follow_up=FollowUp(
            f"{CALLER}: a release that subtracts it",
            deploy(CALLER, Release(change=Change.SUBTRACTS_DISCOUNT)),
            files=1,
        ),
        expected=UNNOTICED,
        quick=True,
    ),
    Variation(
        dimension=Dimension.SEMANTICS,
        detail="silent",
        side=Side.CALLER,
        flow=QUOTE_FARE,
        change="writes longitude where latitude was",
        apply=deploy(CALLER, Release(change=Change.WRITES_LONGITUDE_FIRST)),
        follow_up=FollowUp(
            f"{PROVIDER}: a release that exchanges them",
            deploy(PROVIDER, Release(change=Change.READS_LONGITUDE_FIRST)),
            files=1,
        ),
        expected=UNNOTICED,
    ),
)

FORM_VARIATIONS = (*FORMAT_VARIATIONS, *DATA_TYPE_VARIATIONS, *SEMANTICS_VARIATIONS)
