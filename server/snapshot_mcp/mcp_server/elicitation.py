"""Elicitation: ask a person through the client, in both protocol eras.

Up to 2025-11-25 the server sends a request to the client during the call. From 2026-07-28 on the
result of the call is the question, and the client repeats the call with the answer. The state that
it sends back is sealed and contains a digest of the question, so an answer never counts for another
question.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Any, cast

import anyio
from mcp.server.apps import client_supports_apps
from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateSecurity
from mcp_types import (
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from snapshot_mcp.consent.evidence import ApprovalAnswer, Question
from snapshot_mcp.core.markup import MARKUP_NOTE, shows_markup
from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE, RequestContext, client_name

ELICITATION_TIMEOUT_SECONDS = 300
"""Time that a person has for an answer when the server waits for it."""

_INPUT_KEY = "consent"
_WORDS_FIELD = "words"
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        _WORDS_FIELD: {
            "type": "string",
            "title": "Confirmation words",
            "description": "Type the words that the question asks for, or decline",
            "maxLength": 200,
        }
    },
    "required": [_WORDS_FIELD],
}

logger = logging.getLogger(__name__)


class InputRequired(Exception):  # noqa: N818 - not an error: it is the result of this round
    """The result of the call is a question; the client repeats the call with the answer."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("a person must answer first")
        self.result = result


class ClientApprover:
    """The person behind the client of one call.

    Args:
        request: the request.
        params: its parameters, with the person's answer in a second round.
        embedded: whether the cloud is the embedded one, which each question then says.
        shows_panel: whether the panel can commit the plans of the tool that is called.
        panel_nonce: the nonce that the panel presents; None if the model calls.
    """

    def __init__(
        self,
        request: RequestContext,
        params: CallToolRequestParams,
        *,
        embedded: bool,
        shows_panel: bool,
        panel_nonce: str | None = None,
    ) -> None:
        self._embedded = embedded
        self._shows_panel = shows_panel
        self._request = request
        self._responses = params.input_responses or {}
        self._state = params.request_state
        self.panel_nonce = panel_nonce

    @property
    def has_panel(self) -> bool:
        """Whether the client shows the panel for this tool: it declared the extension."""
        return self._shows_panel and client_supports_apps(self._request)

    @property
    def can_be_asked(self) -> bool:
        """Whether the client declared form elicitation; an empty declaration means forms."""
        capabilities = self._request.session.client_capabilities
        elicitation = capabilities.elicitation if capabilities else None
        return elicitation is not None and (elicitation.form is not None or elicitation.url is None)

    @property
    def client(self) -> str:
        """Name and version of the client."""
        return client_name(self._request)

    def has_answered(self, question: Question) -> bool:
        """Return whether the call carries the answer to exactly this question."""
        return _INPUT_KEY in self._responses and self._state == _digest(question)

    async def ask(self, question: Question) -> ApprovalAnswer:
        """Ask the question, or return the answer that the call carries.

        Raises:
            InputRequired: the question must be the result of this round.
        """
        if self._request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return await self._ask_during_call(question.text)
        if self.has_answered(question):
            return _parse_answer(self._responses[_INPUT_KEY])
        message = self._message(question.text)
        form = ElicitRequestFormParams(message=message, requested_schema=_FORM)
        raise InputRequired(
            InputRequiredResult(
                input_requests={_INPUT_KEY: ElicitRequest(params=form)},
                request_state=_digest(question),
            )
        )

    def _message(self, question: str) -> str:
        """Return the question with the notes on the embedded cloud and on markup in it."""
        opening, *lines, instruction = question.split("\n")
        embedded = [EMBEDDED_NOTE] if self._embedded else []
        markup = [MARKUP_NOTE] if shows_markup(question) else []
        return "\n".join([opening, *embedded, *lines, *markup, instruction])

    async def _ask_during_call(self, question: str) -> ApprovalAnswer:
        try:
            with anyio.fail_after(ELICITATION_TIMEOUT_SECONDS):
                answer = await self._request.session.elicit_form(
                    message=self._message(question),
                    requested_schema=_FORM,
                    related_request_id=str(self._request.request_id),
                )
        except TimeoutError:
            return ApprovalAnswer("timeout")
        except Exception as error:  # noqa: BLE001 - any failure means that no person approved
            logger.info("the client could not ask the person: %s", type(error).__name__)
            return ApprovalAnswer("failed")
        return _parse_answer(answer)


class LazyCodec:
    """Seals request state with the signing key, which is read at the first use.

    A restarted server, or another one with the same key, accepts the answer to a question.
    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key

    def seal(self, payload: bytes) -> str:
        """Return an opaque token that protects `payload`."""
        return self._codec().seal(payload)

    def unseal(self, token: str) -> bytes:
        """Reverse `seal`. Raise InvalidRequestState for any other token."""
        return self._codec().unseal(token)

    def _codec(self) -> AESGCMRequestStateCodec:
        return AESGCMRequestStateCodec([self._key()])


def request_state_security(key: Callable[[], bytes]) -> RequestStateSecurity:
    """Return the policy that seals the state of a question with the key that `key` returns."""
    return RequestStateSecurity(codec=LazyCodec(key))


def _parse_answer(answer: object) -> ApprovalAnswer:
    if not isinstance(answer, ElicitResult):
        return ApprovalAnswer("failed")
    words = (cast("dict[str, object]", answer.content) or {}).get(_WORDS_FIELD)
    return ApprovalAnswer(answer.action, words if isinstance(words, str) else "")


def _digest(question: Question) -> str:
    return hashlib.sha256(question.identity.encode()).hexdigest()
