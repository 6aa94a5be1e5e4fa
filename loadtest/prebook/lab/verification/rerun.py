"""Rerun of a campaign: each claim judged on the earlier run and on another one. Pure."""

from collections.abc import Sequence

import msgspec

from prebook.lab.campaign.campaign_report import campaign_report
from prebook.lab.campaign.raw_results import RawCampaign
from prebook.lab.verification.claims import CLAIMS, Claim, ClaimStatus, Judgement, judge_claim


class ClaimLine(msgspec.Struct, frozen=True, kw_only=True):
    """One claim in both runs."""

    name: str
    talk: tuple[str, ...]
    """Claims of the talk that it belongs to."""
    text: str
    earlier: Judgement
    rerun: Judgement


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """Claims in an earlier run and in another one, as ``--json`` prints them."""

    schema: str = "prebook.rerun/1"
    earlier_run_id: str
    earlier_commit: str
    rerun_id: str
    rerun_commit: str
    claims: tuple[ClaimLine, ...]

    def count(self, status: ClaimStatus) -> int:
        """Return how many claims have a status in the rerun."""
        return sum(line.rerun.status is status for line in self.claims)


def compare_claims(earlier: RawCampaign, rerun: RawCampaign, claims: Sequence[Claim] = CLAIMS) -> Rerun:
    """Return each claim as both runs show it."""
    earlier_report = campaign_report(earlier)
    report = campaign_report(rerun)
    return Rerun(
        earlier_run_id=earlier.run_id,
        earlier_commit=earlier.commit,
        rerun_id=rerun.run_id,
        rerun_commit=rerun.commit,
        claims=tuple(
            ClaimLine(
                name=claim.name,
                talk=claim.talk,
                text=claim.text,
                earlier=judge_claim(claim, earlier_report),
                rerun=judge_claim(claim, report),
            )
            for claim in claims
        ),
    )
