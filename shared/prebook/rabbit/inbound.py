"""Which queues a service takes from, and how many messages of each at a time."""

from prebook.flows import ANNOUNCEMENTS, CATALOGUE
from prebook.messaging.policy import Policies
from prebook.patterns import addresses


def queues_of(service: str, policies: Policies) -> dict[str, int]:
    """Queue name -> prefetch."""
    provided = [flow.name for flow in CATALOGUE if flow.provider == service]
    called = [flow.name for flow in CATALOGUE if flow.caller == service]
    requests = {addresses.request_queue(service, name): policies[name].prefetch for name in provided}
    asked = {addresses.asked_queue(service, name): policies[name].prefetch for name in provided}
    most = max((policies[name].prefetch for name in called or provided), default=1)
    answers = {addresses.reply_queue(service): most, addresses.answer_queue(service): most} if called else {}
    hears = any(service in told.subscribers for told in ANNOUNCEMENTS)
    return {**requests, **asked, **answers, **({addresses.fact_queue(service): most} if hears else {})}
