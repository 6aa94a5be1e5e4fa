"""Settings of the services that an experiment runs on the testbed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from prebook.lab.experiments.service_processes import shorten_retries
from prebook.messaging.policy import read_policies
from prebook.runtime import paths


def test_shortened_retries_keep_the_attempts_and_use_one_delay_that_the_broker_has(tmp_path: Path) -> None:
    testbed: Any = SimpleNamespace(context=SimpleNamespace(work_dir=tmp_path))
    shortened = read_policies(Path(shorten_retries(testbed)["PREBOOK_COUPLINGS"]))
    for flow, policy in read_policies(paths.couplings_file()).items():
        assert len(policy.backoff_s) > 1, "else there is nothing to shorten"
        assert shortened[flow] == msgspec.structs.replace(policy, backoff_s=policy.backoff_s[:1])
