"""Receiver process that sends an e-mail for each message by HTTP, in the middle of its transaction."""

from typing import Any

import aiohttp

from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, PatternReceiver, ReceiverSpec, ReceiverWork
from prebook.lab.experiments.worker import WorkerContext
from prebook.messaging.handlers import HandlerContext, HandlerResult

IDEMPOTENCY_KEY = "Idempotency-Key"
"""Source: IETF HTTPAPI, The Idempotency-Key HTTP Header Field."""


class MailingReceiverSpec(ReceiverSpec, frozen=True, kw_only=True):
    """Arguments of one process. ``with_key``: send the message's id as the idempotency key."""

    mail_url: str
    with_key: bool

    def __repr__(self) -> str:
        return "MailingReceiverSpec(<not printed: it holds secrets>)"


class MailingReceiver(PatternReceiver):
    """Receiver with two effects of each message: a row in its transaction, and an e-mail that no rollback undoes."""

    def __init__(self, context: WorkerContext, spec: MailingReceiverSpec, session: aiohttp.ClientSession) -> None:
        super().__init__(context, spec)
        self._mailing = spec
        self._session = session

    async def _apply(self, context: HandlerContext, body: Any, work: ReceiverWork) -> HandlerResult:
        result = await super()._apply(context, body, work)
        headers = {IDEMPOTENCY_KEY: context.message_id} if self._mailing.with_key else {}
        mail = {"subject": context.conversation_id}
        async with self._session.post(self._mailing.mail_url, json=mail, headers=headers) as response:
            response.raise_for_status()
        return result


async def serve(context: WorkerContext, spec: MailingReceiverSpec) -> None:
    """Receive until the process is killed."""
    async with aiohttp.ClientSession() as session:
        await MailingReceiver(context, spec, session).run()


def run(spec: MailingReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(spec.service, spec, lambda context: serve(context, spec), timeout_s=TIMEOUT_S)
