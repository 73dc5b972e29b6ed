"""Known reasons of refusals: the cloud's text is recognized and replaced by our own, never relayed.

Source: the vendor's guides and recorded replies, and public code that works with the API. Several
texts are known for some reasons; capitals and the shape of the body vary.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

PAYMENT_REQUIRED = 402


class Reason(NamedTuple):
    """A reason in our own words.

    Attributes:
        words: completes "The cloud refused it: …", without a full stop.
        next_step: one sentence.
    """

    words: str
    next_step: str


CREDIT = Reason(
    "the account's credit does not cover it",
    "Top up the account in the cloud's console, then try again.",
)
UNKNOWN = Reason(
    "the reason is unknown",
    "This server does not recognize the cloud's explanation. Try the same in the cloud's console,"
    " which shows it.",
)
_WAIT = "Wait until that is finished, then try again."
_UPDATE = "The request does not match the cloud's API: check for a newer version of this server."
_REASONS: tuple[tuple[str, Reason], ...] = (
    (
        r"(insufficient|not enough|low|negative|no) (\w+ )?(balance|credit|fund)|payment required",
        CREDIT,
    ),
    (
        r"(currently|temporarily|is|been) (disabled|suspended)|not enabled",
        Reason(
            "the cloud has disabled this feature",
            "Try again later, or ask the cloud's support when it will be available.",
        ),
    ),
    (
        r"used to create a snapshot|snapshot(ting)? (is )?(already |currently )?in progress",
        Reason("the VM is busy with a snapshot", _WAIT),
    ),
    (r"being created", Reason("it is still being created", _WAIT)),
    (
        r"being deleted|deletion (is )?(already |currently )?in progress",
        Reason("it is already being deleted", "Wait until it is gone."),
    ),
    (
        r"already has (the|an) image",
        Reason("the snapshot already has an image", "Use that image, or delete it first."),
    ),
    (r"not ready|not yet ready", Reason("the snapshot is not ready", _WAIT)),
    (
        r"already.exist|duplicate|name\b.{0,60}(not available|in use)|already (been )?taken",
        Reason("the name is already taken", "Choose another name."),
    ),
    (
        r"unknown field|unexpected field",
        Reason("it does not accept one of the request's fields", _UPDATE),
    ),
    (
        r"missing data|required field|field is required|field required",
        Reason("it requires a field that was not sent", _UPDATE),
    ),
    (
        r"not (supported|available|offered) in (this|the|that) region|region.{0,40}not support",
        Reason("this is not supported in the region", "Use an object of another region."),
    ),
    (
        r"bootable|boot volume",
        Reason(
            "the VM runs on a bootable volume, which cannot be snapshotted",
            "Back up the volume by other means.",
        ),
    ),
    (
        r"\bcluster",
        Reason(
            "the VM is a node of a cluster, which cannot be snapshotted",
            "Back up its data by other means.",
        ),
    ),
    (
        r"hibernat",
        Reason("the VM is hibernated", "Restore it from hibernation, then try again."),
    ),
    (
        r"quota|limit (is |was |has been )?(exceeded|reached)|maximum number",
        Reason(
            "a quota of the account is used up",
            "Delete what is no longer needed, or ask the cloud's support for a larger quota.",
        ),
    ),
    (
        r"out of stock|no valid host|(not enough|insufficient|no available) (stock|capacity|host)",
        Reason("the cloud has no free capacity for it", "Try again later, or in another region."),
    ),
    (
        r"contract",
        Reason(
            "the contract cannot be used for it",
            "Check the contract's id and what it covers, or leave it out to be billed on demand.",
        ),
    ),
    (
        r"\bin use|being used|still used|is attached",
        Reason("another object uses it", "Find and remove that use in the cloud's console first."),
    ),
    (
        r"(vm|virtual.machine|instance)\W.{0,60}(not.found|not exist|no longer exist)",
        Reason(
            "the VM does not exist, or belongs to another region",
            "List the VMs to find its current id.",
        ),
    ),
    (
        r"snapshot\W.{0,60}(not.found|not exist|no longer exist)",
        Reason(
            "the snapshot does not exist, or belongs to another region",
            "List the snapshots to find its current id.",
        ),
    ),
    (
        r"not.found|not exist|no longer exist",
        Reason("an object that it needs does not exist", "Check the ids, then try again."),
    ),
    (
        r"(flavor|flavour).{0,60}not support",
        Reason("the VM's flavor does not support it", "Back up its data by other means."),
    ),
)
_PATTERNS = tuple((re.compile(pattern), reason) for pattern, reason in _REASONS)

# Names in the text were chosen by people, and could contain the words of any reason.
_QUOTED = re.compile(r"(?<!\w)(['\"`]).{0,200}?\1(?!\w)")
_MAX_TEXT_LENGTH = 2_000
_MAX_TEXTS = 30
_MAX_DEPTH = 3
_TEXT_KEYS = ("message", "error_reason", "errors", "error", "detail", "details", "reason")


def recognize_reason(status: int, body: object) -> Reason | None:
    """Return the reason of a refusal; None if it is not known.

    Args:
        status: the HTTP status.
        body: the JSON value; None if the body is not JSON.
    """
    text = _QUOTED.sub(" ", _remote_text(body)).lower()
    for pattern, reason in _PATTERNS:
        if pattern.search(text):
            return reason
    return CREDIT if status == PAYMENT_REQUIRED else None


def _remote_text(body: object) -> str:
    """Return the cloud's text about a failure. It must not be shown."""
    if not isinstance(body, Mapping):
        return ""
    fields = cast("Mapping[str, object]", body)
    texts: list[str] = []
    for key in _TEXT_KEYS:
        for text in _texts_of(fields.get(key), _MAX_DEPTH):
            if len(texts) == _MAX_TEXTS:
                break
            texts.append(text[:_MAX_TEXT_LENGTH])
    return "\n".join(texts)[:_MAX_TEXT_LENGTH]


def _texts_of(value: object, depth: int) -> Iterator[str]:
    """Yield the texts in a message, which may be a list, or a map from fields to texts."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for entry in cast("list[object]", value):
            yield from _texts_of(entry, depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, entry in cast("Mapping[str, object]", value).items():
            yield key
            yield from _texts_of(entry, depth - 1)
