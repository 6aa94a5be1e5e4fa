"""User ids of the containers: each reads only its own secrets."""

from prebook.flows import PROCESSES

SECRETS_GID = 10000
FIRST_SERVICE_UID = 10001
SERVICE_UIDS = {service: uid for uid, service in enumerate(PROCESSES, FIRST_SERVICE_UID)}
SETUP_UID = 10010
CONSOLE_UID = 10020
"""User id of the console and of the campaign, which hold the console's secrets."""
