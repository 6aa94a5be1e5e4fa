"""Reading and validating settings."""

from pathlib import Path

import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging.policy import read_policies
from prebook.runtime.environment import BadSettings
from prebook.runtime.settings import read_settings

COUPLINGS = Path(__file__).parents[2] / "deploy" / "couplings.toml"
POLICIES = read_policies(COUPLINGS)
NEWEST = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLDER = "the previous secret of a service"
FOR_RIDERS = "a secret of rider callbacks"
VALID = {
    "PREBOOK_DATABASE_URL": "postgresql+asyncpg://prebook_pricing:pw@127.0.0.1:5432/prebook",
    "PREBOOK_AMQP_URL": "amqp://prebook_pricing:pw@127.0.0.1:5672/prebook",
    "PREBOOK_SIGNING_SECRETS": f"{NEWEST}, {OLDER}",
    "PREBOOK_CALLER_SECRETS": f"booking={NEWEST}, booking={OLDER}",
    "PREBOOK_COUPLINGS": str(COUPLINGS),
    **{
        f"PREBOOK_INTERNAL_URL_{name}": "http://127.0.0.1:1"
        for name in ("BOOKING", "PRICING", "MATCHING", "NOTIFICATION", "FLEETS")
    },
}


def test_valid_settings_are_typed() -> None:
    hosts = {"PREBOOK_RIDER_CALLBACK_HOSTS": "a.example,b.example", "PREBOOK_RIDER_CALLBACK_SECRETS": FOR_RIDERS}
    settings, policies = read_settings({**VALID, "PREBOOK_ALLOW_PLAN_OVERRIDE": "true", **hosts})

    assert settings.signing_secrets == (NEWEST, OLDER)
    assert settings.rider_callback_hosts == {"a.example", "b.example"}
    assert settings.allow_plan_override is True
    assert settings.clock_skew_s == 0.0
    assert policies["notify_rider"].coupling is Coupling.ONE_WAY


def test_all_invalid_settings_are_reported_at_once() -> None:
    invalid = {**VALID, "PREBOOK_HTTP_PORT": "99999", "PREBOOK_DATABASE_URL": "mysql://x", "PREBOOK_SEED": "seven"}
    del invalid["PREBOOK_AMQP_URL"]

    with pytest.raises(BadSettings) as failure:
        read_settings(invalid)

    text = str(failure.value)
    for name in ("PREBOOK_HTTP_PORT", "PREBOOK_DATABASE_URL", "PREBOOK_SEED", "PREBOOK_AMQP_URL"):
        assert name in text
    assert "amqp://user:password@host:port/vhost" in text


def test_rider_callbacks_need_a_signing_secret() -> None:
    with pytest.raises(BadSettings, match="PREBOOK_RIDER_CALLBACK_SECRETS is missing"):
        read_settings({**VALID, "PREBOOK_RIDER_CALLBACK_HOSTS": "a.example"})


def test_every_callback_host_that_cannot_be_used_is_named() -> None:
    hosts = {"PREBOOK_RIDER_CALLBACK_HOSTS": "a.example,*.b.example,https://c.example/hook,10.0.0.1"}

    with pytest.raises(BadSettings) as failure:
        read_settings({**VALID, **hosts, "PREBOOK_RIDER_CALLBACK_SECRETS": FOR_RIDERS})

    named = "'*.b.example', '10.0.0.1', 'https://c.example/hook' cannot be used"
    assert str(failure.value).startswith(f"PREBOOK_RIDER_CALLBACK_HOSTS: {named}")


@pytest.mark.parametrize("name", ["PREBOOK_SIGNING_SECRETS", "PREBOOK_RIDER_CALLBACK_SECRETS"])
@pytest.mark.parametrize("weak", ["whsec_not+base64", "whsec_c2hvcnQ=", "short text"])
def test_a_weak_or_malformed_secret_is_refused_without_showing_it(name: str, weak: str) -> None:
    with pytest.raises(BadSettings, match=f"{name}: secret 2 ") as failure:
        read_settings({**VALID, name: f"{NEWEST},{weak}"})

    assert weak not in str(failure.value)
    assert NEWEST not in str(failure.value)


def test_a_secret_can_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{OLDER}\n")
    without = {name: value for name, value in VALID.items() if name != "PREBOOK_SIGNING_SECRETS"}

    settings, _ = read_settings({**without, "PREBOOK_SIGNING_SECRETS_FILE": str(tmp_path / "secret")})

    assert settings.signing_secrets == (OLDER,)


def test_the_broker_url_can_name_several_nodes() -> None:
    nodes = "amqp://u:p@127.0.0.1:5672/v,amqp://u:p@127.0.0.1:5673/v"
    assert read_settings({**VALID, "PREBOOK_AMQP_URL": nodes})[0].amqp_url == nodes


def test_settings_do_not_show_their_secrets() -> None:
    assert "pw" not in repr(read_settings(VALID)[0])


def test_a_coupling_override_is_validated() -> None:
    _, policies = read_settings({**VALID, "PREBOOK_COUPLING_QUOTE_FARE": "sync_api"})
    assert policies["quote_fare"].coupling is Coupling.SYNC_API

    with pytest.raises(BadSettings, match="PREBOOK_COUPLING_QUOTE_FARE: 'pigeon' is none of"):
        read_settings({**VALID, "PREBOOK_COUPLING_QUOTE_FARE": "pigeon"})


def test_a_retry_schedule_that_does_not_fit_its_deadline_is_refused(tmp_path: Path) -> None:
    couplings = tmp_path / "couplings.toml"
    tight = COUPLINGS.read_text().replace("deadline_s = ", "deadline_s = 15.68 #", 1)
    assert (POLICIES["quote_fare"].max_attempts, POLICIES["quote_fare"].backoff_s) == (5, (0.2, 1.0, 5.0))
    couplings.write_text(tight)

    with pytest.raises(BadSettings) as failure:
        read_settings({**VALID, "PREBOOK_COUPLINGS": str(couplings)})

    assert str(failure.value) == (
        f"PREBOOK_COUPLINGS: {couplings}: flows.quote_fare: attempt 5 comes up to 15.68 s after the first, and "
        "deadline_s is 15.68; raise deadline_s above 15.68, or lower max_attempts or backoff_s"
    )


@pytest.mark.parametrize("proxies", ["10.0.0.1/24", "proxy.example", "10.0.0.0/33"])
def test_a_wrong_network_stops_the_start(proxies: str) -> None:
    with pytest.raises(BadSettings, match="PREBOOK_TRUSTED_PROXIES"):
        read_settings({**VALID, "PREBOOK_RIDER_HEADER": "X-Rider-Id", "PREBOOK_TRUSTED_PROXIES": proxies})


@pytest.mark.parametrize("lone", [{"PREBOOK_RIDER_HEADER": "X-Rider-Id"}, {"PREBOOK_TRUSTED_PROXIES": "10.0.0.0/24"}])
def test_header_and_proxies_are_set_together(lone: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match="set together"):
        read_settings({**VALID, **lone})
