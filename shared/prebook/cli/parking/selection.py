"""Selection of dead letters on the command line: IDS, filters or --all."""

from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterSelection
from prebook.devstack import parameters
from prebook.devstack.parameters import given_filters, require_one_selection

FILTER_HELP = {
    "failure_group": "Failure group, as `prebook parking failure-groups` prints it.",
    "cause": "Cause, such as attempts_exhausted or wrong_schema.",
    "queue": "Queue in which the message could not be handled.",
    "type": "Message type, such as prebook.quote_fare.v1.",
    "flow": "Flow or event.",
    "conversation_id": "Id of the booking.",
    "message_id": "Id of the message.",
}
"""Help texts of the filter options, by field of DeadLetterFilter."""
filter_options = parameters.filter_options(FILTER_HELP)
selection_options = parameters.selection_options(FILTER_HELP, "All dead letters.")
id_argument = parameters.id_argument("dead_letter_id")


def parse_selection(ids: tuple[int, ...], everything: bool, filters: dict[str, str]) -> DeadLetterSelection:
    """Return the selection. Raises click.UsageError unless messages are selected in exactly one way."""
    require_one_selection("messages", ids, everything, filters)
    if ids:
        return DeadLetterSelection(ids=ids)
    return DeadLetterSelection(where=DeadLetterFilter(**given_filters(filters)))
