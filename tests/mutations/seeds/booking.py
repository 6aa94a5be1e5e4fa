"""Defects of booking."""

import asyncio
import json
import secrets
from contextlib import suppress
from dataclasses import replace as copy
from typing import Any

import msgspec

from prebook.booking import handlers, process
from prebook.booking.domain.booking import Booking
from prebook.booking.sql import rows
from prebook.booking.sql import work as sql_work
from prebook.booking.store import StoredResponse
from prebook.booking.use_cases import book, cancel
from prebook.booking.use_cases.book import BookRide
from prebook.booking.views import response_of
from prebook.contracts.matching import DriverMatched
from prebook.contracts.ride import BookingState
from prebook.http import rider_callbacks
from prebook.http.problems import Problem
from prebook.messaging.handlers import HandlerResult
from tests.mutations.seeding import is_chosen, replace

SHARE = 0.1
OTHER_ID = "bk_of_another_rider"
LATE_S = 7.0
"""Longer than riders wait until they cancel."""


def _change_response(change: Any) -> None:
    """Change the body of some first responses. ``change`` gets the decoded body."""

    def make(real_response_of: Any) -> Any:
        def respond(booking: Booking) -> StoredResponse:
            response: StoredResponse = real_response_of(booking)
            if not is_chosen(booking.id, SHARE):
                return response
            body = json.loads(response.body)
            status = change(body, response.status)
            return copy(response, status=status, body=json.dumps(body).encode())

        return respond

    replace(book, "response_of", make)


def wrong_id_in_response() -> None:
    """Name another booking in some responses."""

    def change(body: dict[str, Any], status: int) -> int:
        body["id"] = OTHER_ID
        return status

    _change_response(change)


def wrong_fare_in_response() -> None:
    """Tell some riders another fare than the one they pay."""

    def change(body: dict[str, Any], status: int) -> int:
        body["fare"] = {"cents": 1, "currency": "EUR"}
        return status

    _change_response(change)


def wrong_state_in_response() -> None:
    """Answer some requests with 201 and a state that their booking never has."""

    def change(body: dict[str, Any], _: int) -> int:
        body["state"] = BookingState.REJECTED
        return 201

    _change_response(change)


def error_for_a_booking_made() -> None:
    """Answer some requests with 500 after their booking is stored."""

    def make(create: Any) -> Any:
        async def fail_some(self: Any, transition: Any, *arguments: Any) -> Any:
            response = await create(self, transition, *arguments)
            if is_chosen(transition.booking.id, SHARE):
                raise RuntimeError("the response is lost")
            return response

        return fail_some

    replace(BookRide, "_create", make)


def accepted_and_not_stored() -> None:
    """Answer some requests with 202 without storing their booking."""

    def make(create: Any) -> Any:
        async def store_some(self: Any, transition: Any, *arguments: Any) -> Any:
            if is_chosen(transition.booking.id, SHARE):
                return response_of(transition.booking)
            return await create(self, transition, *arguments)

        return store_some

    replace(BookRide, "_create", make)


def no_response() -> None:
    """Never answer some requests."""

    def make(create: Any) -> Any:
        async def answer_some(self: Any, key: str, *arguments: Any) -> Any:
            if is_chosen(key, SHARE):
                await asyncio.sleep(3600)
            return await create(self, key, *arguments)

        return answer_some

    replace(BookRide, "book", make)


def refused_and_booked() -> None:
    """Answer some requests as refused, though their booking is stored."""

    def make(create: Any) -> Any:
        async def refuse_some(self: Any, transition: Any, *arguments: Any) -> Any:
            response = await create(self, transition, *arguments)
            if is_chosen(transition.booking.id, SHARE):
                raise Problem(503, "overloaded", "refused", headers={"retry-after": "1"})
            return response

        return refuse_some

    replace(BookRide, "_create", make)


def two_rows_for_one_key() -> None:
    """Store every attempt at a request under another rider, so that its key makes a booking each time."""

    def make(new_booking: Any) -> Any:
        def with_other_rider(*arguments: Any) -> Booking:
            booking: Booking = new_booking(*arguments)
            return copy(booking, ride=copy(booking.ride, rider_id=f"{booking.ride.rider_id}-{secrets.token_hex(4)}"))

        return with_other_rider

    replace(book, "_new_booking", make)


def key_with_another_body_accepted() -> None:
    """Take all bodies of one key for the same."""
    replace(book, "fingerprint_of", lambda _: lambda _: b"the same")


def cancellation_without_effect() -> None:
    """Answer a cancellation with 200 and change nothing."""

    async def do_nothing(*_: Any) -> HandlerResult:
        return HandlerResult()

    replace(cancel, "cancel_booking", lambda _: do_nothing)


def cancellation_refused() -> None:
    """Refuse every cancellation as too late."""

    async def refuse(*_: Any) -> HandlerResult:
        raise Problem(409, "booking_over", "it is over already")

    replace(cancel, "cancel_booking", lambda _: refuse)


def cancelled_by_nobody() -> None:
    """Cancel some bookings when their driver is found."""

    def make(apply_driver_reply: Any) -> Any:
        def cancel_some(booking: Booking, reply: Any, now: Any, **options: Any) -> Any:
            if is_chosen(booking.id, SHARE) and booking.state is BookingState.PRICED:
                return process.cancel(booking, now)
            return apply_driver_reply(booking, reply, now, **options)

        return cancel_some

    replace(process, "apply_driver_reply", make)


def state_skipped() -> None:
    """Leave a state out of the history of every booking."""

    def make(history_json: Any) -> Any:
        def without_matched(booking: Booking) -> str:
            kept = tuple(change for change in booking.history if change.state is not BookingState.MATCHED)
            return str(history_json(copy(booking, history=kept)))

        return without_matched

    replace(rows, "history_json", make)
    replace(sql_work, "history_json", make)


def another_driver() -> None:
    """Confirm some bookings with another driver than the one that was found."""

    def make(apply_driver_reply: Any) -> Any:
        def with_another(booking: Booking, reply: Any, now: Any, **options: Any) -> Any:
            if is_chosen(booking.id, SHARE) and isinstance(reply, DriverMatched):
                reply = msgspec.structs.replace(reply, driver=f"{reply.driver}-other")
            return apply_driver_reply(booking, reply, now, **options)

        return with_another

    replace(process, "apply_driver_reply", make)


def callback_unsigned() -> None:
    """Send some callbacks without a signature."""

    def make(sign: Any) -> Any:
        def sign_some(secrets_: Any, message_id: str, *arguments: Any) -> dict[str, str]:
            headers = dict(sign(secrets_, message_id, *arguments))
            return {"webhook-id": message_id} if is_chosen(message_id, SHARE) else headers

        return sign_some

    replace(rider_callbacks, "sign", make)


def _change_callback(change: Any) -> None:
    """Replace the step that calls a rider back. ``change`` gets the real send, the event and its message id."""

    def make(callback_sender: Any) -> Any:
        def with_change(send: Any, *encoders: Any) -> Any:
            async def pre_transaction(context: Any, due: Any) -> Any:
                async def send_changed(url: str, message_id: str, body: bytes) -> None:
                    await change(send, due, url, message_id, body)

                return await callback_sender(send_changed, *encoders)(context, due)

            return pre_transaction

        return with_change

    replace(handlers, "callback_sender", make)


def callback_missing() -> None:
    """Leave some callbacks out."""

    async def send_some(send: Any, _: Any, url: str, message_id: str, body: bytes) -> None:
        if not is_chosen(message_id, SHARE):
            await send(url, message_id, body)

    _change_callback(send_some)


def callback_with_wrong_sequence() -> None:
    """Number every callback as the first."""

    async def send_numbered(send: Any, _: Any, url: str, message_id: str, body: bytes) -> None:
        await send(url, message_id, json.dumps({**json.loads(body), "sequence": 1}).encode())

    _change_callback(send_numbered)


def callback_out_of_order() -> None:
    """Send the callback about a confirmation late, and number none."""
    late = set[asyncio.Task[None]]()

    async def send_late(send: Any, due: Any, url: str, message_id: str, body: bytes) -> None:
        unnumbered = json.loads(body)
        del unnumbered["sequence"]

        async def send_repeatedly() -> None:
            await asyncio.sleep(LATE_S)
            for _ in range(2):  # the riders' system may refuse the first attempt
                with suppress(Exception):
                    await send(url, message_id, json.dumps(unnumbered).encode())
                    break

        if due.outcome == BookingState.CONFIRMED:
            late.add(asyncio.create_task(send_repeatedly()))
        else:
            await send(url, message_id, json.dumps(unnumbered).encode())

    _change_callback(send_late)


def callback_twice() -> None:
    """Report every outcome twice, under two message ids."""

    def make(report_events: Any) -> Any:
        def report_twice(booking: Booking) -> Any:
            events = report_events(booking)
            return (*events, *(copy(event, key=f"{event.key}.again") for event in events))

        return report_twice

    replace(process, "_report_events", make)
