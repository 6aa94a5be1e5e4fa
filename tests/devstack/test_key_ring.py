"""Rotation of the secrets of a deployment: what each step leaves active, in every file."""

import os
from pathlib import Path

import pytest

from prebook.devstack import key_ring
from prebook.devstack.errors import UserError
from prebook.devstack.key_ring import CALLERS, KeyRing, generate_key_ring, read_key_ring, write_key_ring
from prebook.flows import PROCESSES, callers_of
from prebook.patterns.call_signature import CallSigner, derive_secret, read_claim
from prebook.patterns.signature import generate_secret, key_of

NOW = 1_700_000_000.0


def example() -> KeyRing:
    return generate_key_ring(rider_callbacks=(generate_secret(),))


def test_a_ring_is_read_as_it_was_written(tmp_path: Path) -> None:
    ring = example().rotated()
    write_key_ring(tmp_path, ring)
    assert read_key_ring(tmp_path) == ring
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o400}


def test_a_ring_without_rider_callbacks_has_no_file_of_theirs(tmp_path: Path) -> None:
    write_key_ring(tmp_path, generate_key_ring().rotated())
    assert not (tmp_path / key_ring.RIDER_CALLBACK_FILE).exists()
    assert read_key_ring(tmp_path).rider_callbacks == ()


def test_tokens_of_other_operators_are_kept(tmp_path: Path) -> None:
    write_key_ring(tmp_path, example())
    tokens = tmp_path / key_ring.OPERATOR_TOKENS_FILE
    tokens.chmod(0o600)
    tokens.write_text(tokens.read_text() + ",alice=a token of alice")
    write_key_ring(tmp_path, read_key_ring(tmp_path).rotated().retired())
    assert tokens.read_text().split(",")[1:] == ["alice=a token of alice"]
    assert tokens.stat().st_mode & 0o777 == 0o600


def test_a_rotation_adds_and_a_retirement_removes(tmp_path: Path) -> None:
    ring = example()
    rotated = ring.rotated()
    for use, (first, *rest) in rotated.holders().items():
        assert rest == list(ring.holders()[use])
        assert rotated.retired().holders()[use] == (first,)


@pytest.mark.parametrize("step", ["rotation", "retirement"])
def test_a_call_passes_whichever_side_reloads_first(step: str) -> None:
    ring = example()
    before = ring if step == "rotation" else ring.rotated()
    after = ring.rotated() if step == "rotation" else before.retired()
    pairs = [(caller, receiver) for receiver in PROCESSES for caller in callers_of(receiver)]
    for caller, receiver in pairs:
        for signing, verifying in ((before, after), (after, before), (after, after)):
            headers = CallSigner(caller, signing.signing[caller]).sign(receiver, "GET", "/", {}, b"", now_s=NOW)
            keys = {caller: [key_of(derive_secret(s, receiver)) for s in verifying.signing[caller]]}
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            assert read_claim(keys, raw, now_s=NOW).verify("GET", "/", b"") == caller


def test_files_that_cannot_be_read_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_key_ring(tmp_path)
    assert "--secrets-dir" in caught.value.remedy


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    write_key_ring(tmp_path, example())
    path = tmp_path / f"{CALLERS[0]}/signing_secrets"
    with path.open() as earlier:
        write_key_ring(tmp_path, example())
        assert os.fstat(earlier.fileno()).st_ino != path.stat().st_ino
        assert earlier.read().startswith("whsec_")
