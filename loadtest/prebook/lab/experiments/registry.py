"""Registry of all experiments, in the order in which `prebook lab all` runs them."""

from typing import Any

from prebook.lab.experiments.claim_check.registration import CLAIM_CHECK
from prebook.lab.experiments.crash_points.registration import CRASH_POINTS
from prebook.lab.experiments.delivery.acknowledgement_timeout import ACKNOWLEDGEMENT_TIMEOUT
from prebook.lab.experiments.delivery.deduplication_window import DEDUPLICATION_WINDOW
from prebook.lab.experiments.delivery.effect_outside import EFFECT_OUTSIDE
from prebook.lab.experiments.enricher.registration import CONTENT_ENRICHER
from prebook.lab.experiments.exactly_once.registration import EXACTLY_ONCE
from prebook.lab.experiments.experiment import Experiment, Section
from prebook.lab.experiments.flow_control.back_pressure import BACK_PRESSURE
from prebook.lab.experiments.flow_control.campaign_tokens import CAMPAIGN_TOKENS
from prebook.lab.experiments.flow_control.messages_in_progress import MESSAGES_IN_PROGRESS
from prebook.lab.experiments.flow_control.traffic_shaping import TRAFFIC_SHAPING
from prebook.lab.experiments.flow_control.valuable_messages import VALUABLE_MESSAGES
from prebook.lab.experiments.inspection.registration import INSPECTION
from prebook.lab.experiments.model.drift import DRIFT
from prebook.lab.experiments.model.level_of_control import LEVEL_OF_CONTROL
from prebook.lab.experiments.model.operations import OPERATIONS
from prebook.lab.experiments.model.regeneration import REGENERATION
from prebook.lab.experiments.model.temporal_edges import TEMPORAL_EDGES
from prebook.lab.experiments.model.typed_references import TYPED_REFERENCES
from prebook.lab.experiments.model.views import CONTROL_FLOW_PICTURES, TWO_VIEWS
from prebook.lab.experiments.normalizer.registration import NORMALIZER
from prebook.lab.experiments.ordering.key_forwarding import KEY_FORWARDING
from prebook.lab.experiments.ordering.registration import ORDER
from prebook.lab.experiments.ordering.sweep import ORDER_SWEEP
from prebook.lab.experiments.outbox_retention.registration import OUTBOX_RETENTION
from prebook.lab.experiments.patterns.competing_consumers import COMPETING_CONSUMERS
from prebook.lab.experiments.patterns.content_based_router import CONTENT_BASED_ROUTER
from prebook.lab.experiments.patterns.guaranteed_delivery import GUARANTEED_DELIVERY
from prebook.lab.experiments.patterns.idempotent_receiver import IDEMPOTENT_RECEIVER
from prebook.lab.experiments.patterns.message_expiration import MESSAGE_EXPIRATION
from prebook.lab.experiments.patterns.message_filter import MESSAGE_FILTER
from prebook.lab.experiments.patterns.message_history import MESSAGE_HISTORY
from prebook.lab.experiments.patterns.process_manager import PROCESS_MANAGER
from prebook.lab.experiments.patterns.publish_subscribe import PUBLISH_SUBSCRIBE
from prebook.lab.experiments.patterns.return_address import RETURN_ADDRESS
from prebook.lab.experiments.patterns.wire_tap import WIRE_TAP
from prebook.lab.experiments.pipes.pipes_and_filters import PIPES_AND_FILTERS
from prebook.lab.experiments.pipes.push_rate import PUSH_RATE
from prebook.lab.experiments.poison.registration import POISON
from prebook.lab.experiments.retries.hot_requeue import HOT_REQUEUE
from prebook.lab.experiments.retries.retry_schedule import RETRY_SCHEDULE
from prebook.lab.experiments.retries.retry_storm import RETRY_STORM
from prebook.lab.experiments.scatter_gather.registration import SCATTER_GATHER
from prebook.lab.experiments.trips.registration import TRIPS

EXPERIMENTS: tuple[Experiment[Any], ...] = (
    TEMPORAL_EDGES,
    LEVEL_OF_CONTROL,
    OPERATIONS,
    WIRE_TAP,
    IDEMPOTENT_RECEIVER,
    COMPETING_CONSUMERS,
    PUBLISH_SUBSCRIBE,
    RETURN_ADDRESS,
    PROCESS_MANAGER,
    MESSAGE_EXPIRATION,
    GUARANTEED_DELIVERY,
    MESSAGE_HISTORY,
    CONTENT_ENRICHER,
    PIPES_AND_FILTERS,
    PUSH_RATE,
    CONTENT_BASED_ROUTER,
    MESSAGE_FILTER,
    TRIPS,
    CLAIM_CHECK,
    SCATTER_GATHER,
    NORMALIZER,
    CONTROL_FLOW_PICTURES,
    MESSAGES_IN_PROGRESS,
    TRAFFIC_SHAPING,
    VALUABLE_MESSAGES,
    BACK_PRESSURE,
    CAMPAIGN_TOKENS,
    ORDER,
    ORDER_SWEEP,
    KEY_FORWARDING,
    EXACTLY_ONCE,
    EFFECT_OUTSIDE,
    DEDUPLICATION_WINDOW,
    ACKNOWLEDGEMENT_TIMEOUT,
    OUTBOX_RETENTION,
    POISON,
    RETRY_SCHEDULE,
    RETRY_STORM,
    HOT_REQUEUE,
    INSPECTION,
    CRASH_POINTS,
    DRIFT,
    REGENERATION,
    TYPED_REFERENCES,
    TWO_VIEWS,
)


def find_experiments(section: Section | None) -> tuple[Experiment[Any], ...]:
    """Return the experiments of ``section``, or all if it is None."""
    return tuple(each for each in EXPERIMENTS if section in (None, each.section))
