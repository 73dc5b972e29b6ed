"""Plan tokens are accepted for the same intent, in time, by the same principal and cloud."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from snapshot_mcp.consent.plan_tokens import TOKEN_TTL, Intent, Plan, PlanTokens, digest
from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.chain import Argument

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = datetime(2026, 11, 20, 12, 0, 0, 500_000, tzinfo=UTC)
CLOUD = "https://cloud.example/v1"
DELETE = Intent("delete_snapshot", 1701, {})


def make_tokens(
    *,
    key: bytes = KEY,
    principal: str = "local",
    cloud: str = CLOUD,
    now: datetime = NOW,
) -> PlanTokens:
    return PlanTokens(key=lambda: key, principal=lambda: principal, cloud=cloud, now=lambda: now)


def issue_token(intent: Intent = DELETE) -> str:
    return make_tokens().issue("plan-1", intent, "state-1")[0]


def refusal_message(token: str, intent: Intent = DELETE, opener: PlanTokens | None = None) -> str:
    with pytest.raises(RefusedError) as caught:
        (opener or make_tokens()).verify(token, intent)
    assert "Nothing was changed." in str(caught.value)
    return str(caught.value)


def decode_claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_signature": False})


def sign_claims(claims: Mapping[str, object], key: bytes = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(dict(claims), key, algorithm=algorithm)


def encode_part(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


intents = st.builds(
    Intent,
    st.sampled_from(["restore_snapshot", "delete_snapshot"]),
    st.integers(1, 4),
    st.dictionaries(
        st.sampled_from(["new_vm_name", "contract_id"]),
        st.one_of(
            st.sampled_from(["", "1", "web", "we", "b"]),
            st.integers(0, 2),
            st.booleans(),
            st.lists(st.sampled_from(["1", "web"]), max_size=2),
        ),
    ),
)


def is_same_intent(one: Intent, two: Intent) -> bool:
    def key(intent: Intent) -> tuple[str, int, str]:
        return intent.tool, intent.target, json.dumps(intent.arguments, sort_keys=True)

    return key(one) == key(two)


def test_a_token_is_accepted_for_the_intent_it_was_issued_for() -> None:
    token, expires_at = make_tokens().issue("plan-1", DELETE, "state-1")
    assert expires_at == (NOW + TOKEN_TTL).replace(microsecond=0)
    assert make_tokens().verify(token, DELETE) == Plan("plan-1", "state-1", expires_at)
    assert timedelta(minutes=9) < expires_at - NOW <= timedelta(minutes=10)


@given(intents, intents)
def test_a_token_is_accepted_for_the_same_intent_only(one: Intent, two: Intent) -> None:
    token = issue_token(one)
    assert make_tokens().verify(token, one).id == "plan-1"
    if is_same_intent(one, two):
        assert make_tokens().verify(token, two).id == "plan-1"
    else:
        refusal_message(token, two)


@pytest.mark.parametrize(
    ("intent", "why"),
    [
        (Intent("restore_snapshot", 1701, {}), "another tool or another snapshot"),
        (Intent("delete_snapshot", 1702, {}), "another tool or another snapshot"),
        (Intent("delete_snapshot", 1701, {"contract_id": 0}), "other arguments"),
    ],
)
def test_a_token_is_refused_for_another_intent(intent: Intent, why: str) -> None:
    assert why in refusal_message(issue_token(), intent)


@pytest.mark.parametrize(
    "arguments",
    [
        {"new_vm_name": "web", "contract_id": 8},
        {"new_vm_name": "Web", "contract_id": 7},
        {"new_vm_name": "web"},
        {"new_vm_name": "web", "contract_id": "7"},
        {"new_vm_name": "web", "contract_id": 7, "more": True},
        {},
    ],
)
def test_every_argument_counts(arguments: Mapping[str, Argument]) -> None:
    token = issue_token(Intent("restore_snapshot", 1, {"contract_id": 7, "new_vm_name": "web"}))
    same_in_other_order = Intent("restore_snapshot", 1, {"new_vm_name": "web", "contract_id": 7})
    assert make_tokens().verify(token, same_in_other_order).id == "plan-1"
    assert "other arguments" in refusal_message(token, Intent("restore_snapshot", 1, arguments))


def test_a_token_is_for_one_principal_and_one_cloud() -> None:
    for opener in (make_tokens(principal="other"), make_tokens(cloud="https://cloud.example/v2")):
        assert "someone else or another cloud" in refusal_message(issue_token(), opener=opener)


@pytest.mark.parametrize("minutes", [10, 11, 60 * 24 * 365])
def test_a_token_expires_after_ten_minutes(minutes: float) -> None:
    late = make_tokens(now=NOW + timedelta(minutes=minutes))
    plan = late.verify(issue_token(), DELETE)
    with pytest.raises(RefusedError, match="expired") as caught:
        late.check_expiry(plan)
    assert "Nothing was changed." in str(caught.value)


def test_a_token_is_valid_until_its_last_second() -> None:
    token, expires_at = make_tokens().issue("plan-1", DELETE, "state-1")
    plan = make_tokens().verify(token, DELETE)
    assert plan.expires_at == expires_at
    for moment in (NOW, expires_at - timedelta(microseconds=1)):
        make_tokens(now=moment).check_expiry(plan)
    with pytest.raises(RefusedError, match="expired"):
        make_tokens(now=expires_at).check_expiry(plan)


def test_expiry_follows_the_given_clock() -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    token, _ = make_tokens(now=long_ago).issue("plan-1", DELETE, "state-1")
    plan = make_tokens(now=long_ago).verify(token, DELETE)
    make_tokens(now=long_ago).check_expiry(plan)
    with pytest.raises(RefusedError, match="expired"):
        make_tokens().check_expiry(plan)


def test_a_token_signed_with_another_key_is_not_ours() -> None:
    assert "not issued by this server" in refusal_message(
        issue_token(), opener=make_tokens(key=OTHER_KEY)
    )
    assert "not issued" in refusal_message(sign_claims(decode_claims(issue_token()), OTHER_KEY))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_a_token_without_a_signature_is_not_ours(algorithm: str) -> None:
    claims = decode_claims(issue_token())
    header = encode_part({"alg": algorithm, "typ": "JWT"})
    for signature in ("", issue_token().rpartition(".")[2]):
        assert "not issued" in refusal_message(f"{header}.{encode_part(claims)}.{signature}")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_token_of_another_algorithm_is_not_ours_even_with_our_key(algorithm: str) -> None:
    key = KEY * 2
    token = sign_claims(decode_claims(issue_token()), key, algorithm)
    assert "not issued" in refusal_message(token, opener=make_tokens(key=key))


@pytest.mark.parametrize("claim", sorted(decode_claims(issue_token())))
def test_a_token_without_one_of_its_claims_is_not_ours(claim: str) -> None:
    claims = {name: value for name, value in decode_claims(issue_token()).items() if name != claim}
    assert "not issued" in refusal_message(sign_claims(claims))


def test_a_token_claims_what_it_is_bound_to() -> None:
    assert set(decode_claims(issue_token())) >= {"jti", "sub", "arg", "st", "aud", "exp"}


def test_a_claim_that_was_changed_breaks_the_signature() -> None:
    header, _, signature = issue_token().split(".")
    claims = decode_claims(issue_token()) | {"sub": "delete_snapshot/1702"}
    forged = f"{header}.{encode_part(claims)}.{signature}"
    assert "not issued" in refusal_message(forged, Intent("delete_snapshot", 1702, {}))


@given(st.data())
def test_a_token_that_was_cut_or_changed_anywhere_is_not_ours(data: st.DataObject) -> None:
    token = issue_token()
    position = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(codec="ascii"))
    # The last character of a part has unused bits, so changing it may not change the bytes.
    assume(letter != token[position] and token[position + 1 : position + 2] not in ("", "."))
    for broken in (
        token[:position],
        token[position + 1 :],
        token[:position] + letter + token[position + 1 :],
    ):
        refusal_message(broken)


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "\u00e9.\u00e9.\u00e9", "\0", "plan-1", "[.[.["],
)
def test_text_that_is_not_a_token_is_refused(token: str) -> None:
    assert "not issued by this server" in refusal_message(token)


@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_without_a_crash(text: str) -> None:
    assert "not issued by this server" in refusal_message(text)


def test_a_token_that_is_too_long_is_not_decoded() -> None:
    long = sign_claims({**decode_claims(issue_token()), "padding": "x" * 2_000})
    assert "not issued" in refusal_message(long)
    assert (
        len(issue_token(Intent("restore_snapshot", 2**63 - 1, {"new_vm_name": "x" * 50}))) <= 1_000
    )


def test_a_refused_token_is_not_repeated_in_the_message() -> None:
    assert "SECRET" not in refusal_message("SECRET.SECRET.SECRET")


def test_a_token_does_not_contain_the_cloud_the_principal_or_the_arguments() -> None:
    intent = Intent("restore_snapshot", 1, {"new_vm_name": "launch-of-x"})
    text = json.dumps(decode_claims(make_tokens(principal="alice").issue("plan-1", intent, "s")[0]))
    for hidden in ("cloud.example", "alice", "launch-of-x"):
        assert hidden not in text


def test_a_missing_key_is_not_reported_as_a_forged_token() -> None:
    def broken() -> bytes:
        raise LedgerError("The key is broken.")

    opener = PlanTokens(key=broken, principal=lambda: "local", cloud=CLOUD, now=lambda: NOW)
    with pytest.raises(LedgerError):
        opener.verify(issue_token(), DELETE)
    with pytest.raises(LedgerError):
        opener.issue("plan-1", DELETE, "state-1")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(json_values, json_values)
def test_a_digest_is_the_same_exactly_for_the_same_value(one: object, two: object) -> None:
    equal = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (digest(one) == digest(two)) == equal
    assert len(digest(one)) == len(digest(two)) >= 16


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest(cast("object", {"b": 2, "a": 1}))
