"""Asking a person through the client, on either protocol era.

Up to 2025-11-25 the server sends a request of its own in the midst of the call. From 2026-07-28 on
the call itself is answered with the question, and the client calls again with the answer; what
carries over is sealed by the SDK and names the question, so no answer fits another one.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Any, cast

import anyio
from mcp.server.apps import client_supports_apps
from mcp.server.mcpserver.context import Context
from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateSecurity
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from snapshot_mcp.consent.evidence import ApprovalAnswer
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize

ELICITATION_TIMEOUT_SECONDS = 300
"""How long a person may take to answer where the server waits for them."""

_KEY = "consent"
_FIELD = "words"
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        _FIELD: {
            "type": "string",
            "title": "Words of consent",
            "description": "Type the words that the question asks for, or decline",
            "maxLength": 200,
        }
    },
    "required": [_FIELD],
}

logger = logging.getLogger(__name__)


class InputRequired(Exception):  # noqa: N818 - it is no error, it is the answer of this round
    """The call is to be answered with a question; the client calls again with the answer."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("a person is asked")
        self.result = result


class ClientApprover:
    """The person behind the client of one call.

    Args:
        context: the call.
        panel_nonce: what the panel knows of its plan; None where the model calls.
    """

    def __init__(self, context: Context[Any, Any], *, panel_nonce: str | None = None) -> None:
        self._context = context
        self.panel_nonce = panel_nonce

    @property
    def has_panel(self) -> bool:
        """Whether the client declared the extension for panels."""
        return client_supports_apps(self._context)

    @property
    def can_be_asked(self) -> bool:
        """Whether the client declared form elicitation; an empty declaration means forms."""
        capabilities = self._context.client_capabilities
        elicitation = capabilities.elicitation if capabilities else None
        return elicitation is not None and (elicitation.form is not None or elicitation.url is None)

    @property
    def client(self) -> str:
        """The client's name and version, as it says."""
        params = self._context.session.client_params
        if params is None:
            return ""
        info = params.client_info
        return sanitize(f"{info.name} {info.version}", MAX_NAME_LENGTH).text

    def has_answered(self, question: str) -> bool:
        """Whether the answer to this very question came with the call."""
        responses = self._context.input_responses or {}
        return _KEY in responses and self._context.request_state == _name_of(question)

    async def ask(self, question: str) -> ApprovalAnswer:
        """Ask, or take the answer that came with the call.

        Raises:
            InputRequired: the question is the answer of this round.
        """
        if self._context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return await self._ask_now(question)
        if self.has_answered(question):
            return _read((self._context.input_responses or {})[_KEY])
        form = ElicitRequestFormParams(message=question, requested_schema=_FORM)
        raise InputRequired(
            InputRequiredResult(
                input_requests={_KEY: ElicitRequest(params=form)},
                request_state=_name_of(question),
            )
        )

    async def _ask_now(self, question: str) -> ApprovalAnswer:
        try:
            with anyio.fail_after(ELICITATION_TIMEOUT_SECONDS):
                answer = await self._context.session.elicit_form(
                    message=question,
                    requested_schema=_FORM,
                    related_request_id=self._context.request_id,
                )
        except TimeoutError:
            return ApprovalAnswer("timeout")
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody has agreed
            logger.info("the client could not ask: %s", type(error).__name__)
            return ApprovalAnswer("failed")
        return _read(answer)


class LazyCodec:
    """Seals what a question carries over with the signing key, which is read at the first use.

    So the answer is taken by a server that was restarted meanwhile, and by another one that has the
    same key.
    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key

    def seal(self, payload: bytes) -> str:
        """An opaque token that protects `payload`."""
        return self._codec().seal(payload)

    def unseal(self, token: str) -> bytes:
        """Reverse `seal`. Raises InvalidRequestState for any other token."""
        return self._codec().unseal(token)

    def _codec(self) -> AESGCMRequestStateCodec:
        return AESGCMRequestStateCodec([self._key()])


def request_state_security(key: Callable[[], bytes]) -> RequestStateSecurity:
    """How the SDK seals what a question carries over: with the key that `key` gives."""
    return RequestStateSecurity(codec=LazyCodec(key))


def _read(answer: object) -> ApprovalAnswer:
    if not isinstance(answer, ElicitResult):
        return ApprovalAnswer("failed")
    words = (cast("dict[str, object]", answer.content) or {}).get(_FIELD)
    return ApprovalAnswer(answer.action, words if isinstance(words, str) else "")


def _name_of(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()
