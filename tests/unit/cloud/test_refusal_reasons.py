"""Known reasons of refusals, in the shapes and spellings in which clouds send them."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cloud.refusal_reasons import recognize_reason
from snapshot_mcp.core.errors import BadRequestError, CloudError, ConflictError, NotFoundError
from tests.conftest import open_api_client

REASONS = {
    "Insufficient balance to create the resource": "the account's credit does not cover it",
    "This feature is currently disabled": "the cloud has disabled this feature",
    "This name is not available": "the name is already taken",
    "Snapshot with name 'x' already exists.": "the name is already taken",
    "Duplicate entry": "the name is already taken",
    "Volume is in use": "another object uses it",
    "Unknown field": "does not accept one of the request's fields",
    "Missing data for required field.": "requires a field that was not sent",
    "Snapshots are not supported in this region": "not supported in the region",
    "Quota exceeded for snapshots": "a quota of the account is used up",
    "Contract not found": "the contract cannot be used",
    "VM has a bootable volume attached": "runs on a bootable volume",
    "The VM is part of a cluster": "a node of a cluster",
    "Cannot snapshot a hibernated VM": "the VM is hibernated",
    "Snapshot 5 is currently being created and cannot be deleted yet": "still being created",
    "Snapshot 5 is already being deleted": "already being deleted",
    "VM 793734 is currently being used to create a snapshot and no operation can be performed.": (
        "the VM is busy with a snapshot"
    ),
    "Snapshot 1785 is not ready to be restored": "the snapshot is not ready",
    "Snapshot 1785 already has the image x": "already has an image",
    "VM 1 was not found": "the VM does not exist",
    "VM 793869 does not exists.": "the VM does not exist",
    "Snapshot not found": "the snapshot does not exist",
    "Snapshot 1 does not exist": "the snapshot does not exist",
    "Environment x not found": "an object that it needs does not exist",
}
SECRET = "R3MOTE-WORDS"  # noqa: S105 - what a remote body might say


async def refuse(status: int, body: object) -> CloudError:
    """Return the error of a write that the cloud refuses."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    async with open_api_client(transport, seconds=5) as api:
        with pytest.raises(CloudError) as caught:
            await api.write("POST", "/core", "a snapshot of VM 1", lambda body: body)
    return caught.value


@pytest.mark.parametrize(("text", "words"), REASONS.items(), ids=REASONS)
async def test_a_known_reason_is_reworded_with_a_next_step(text: str, words: str) -> None:
    shapes: list[object] = [
        {"status": False, "message": f"{text} {SECRET}"},
        {"status": False, "message": text.upper(), "error_reason": "bad_request"},
        {"status": False, "message": [text, SECRET]},
        {"message": {"name": [text]}},
        {"status": False, "message": "Invalid request", "errors": {"name": text}},
        {"status": False, "message": None, "error_reason": text.lower()},
        {"detail": [{"msg": text}]},
    ]
    for body in shapes:
        for status in (400, 403, 404, 406, 409, 422):
            error = await refuse(status, body)
            assert words in str(error), body
            assert "Nothing was changed." in str(error)
            assert error.args[0] != str(error)
            assert SECRET not in str(error)
            assert isinstance(error, BadRequestError | ConflictError | NotFoundError)
    error = await refuse(200, {"status": False, "message": text})
    assert words in str(error)
    assert type(error) is BadRequestError


async def test_402_means_that_credit_is_missing() -> None:
    error = await refuse(402, None)
    assert "the account's credit does not cover it. Nothing was changed. Top up" in str(error)


@pytest.mark.parametrize("message", [SECRET, None, 7, [], {}, [[[[["quota"]]]]], "x" * 5_000])
async def test_an_unknown_reason_is_said_to_be_unknown(message: object) -> None:
    error = await refuse(400, {"status": False, "message": message})
    assert "the reason is unknown. Nothing was changed." in str(error)
    assert "console" in error.next_step
    assert SECRET not in str(error)


@pytest.mark.parametrize("name", ["my quota", "cluster-1", "insufficient balance", "hibernated"])
async def test_the_words_of_a_quoted_name_are_not_taken_for_a_reason(name: str) -> None:
    for quote in "'\"`":
        message = f"The value {quote}{name}{quote} isn't valid, and it can't be used."
        assert "the reason is unknown" in str(await refuse(400, {"message": message}))


@given(
    st.integers(300, 599),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
)
def test_any_body_has_a_known_reason_or_none(status: int, message: object) -> None:
    body = {"message": message, "errors": message}
    reason = recognize_reason(status, body)
    assert reason is None or (reason.words and reason.next_step.endswith("."))
