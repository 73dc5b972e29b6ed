"""Comparison of what the cloud stored with what was requested: it may drop labels."""

from collections.abc import Sequence
from typing import NamedTuple

from snapshot_mcp.core.sanitize import quoted
from snapshot_mcp.models.cloud import CustomImage, Snapshot


class StoredFacts(NamedTuple):
    """The differences between a request and what the cloud stored.

    Attributes:
        labels_stored: whether all labels were stored; None if there are none, or it is not known.
        missing_labels: the labels that were not stored.
        description_differs: another description was stored.
        is_known: whether the cloud returned the labels.
    """

    labels_stored: bool | None
    missing_labels: tuple[str, ...] = ()
    description_differs: bool = False
    is_known: bool = True

    @property
    def needs_confirmation(self) -> bool:
        """Whether another read may show what is missing here."""
        return not self.is_known or bool(self.missing_labels)

    @property
    def remark(self) -> str:
        """The differences, for the ledger; empty if there are none."""
        labels = ", ".join(map(quoted, self.missing_labels))
        remarks = (
            f"labels not stored: {labels}" if labels else "",
            "" if self.is_known else "the reply does not show its labels",
            "another description was stored" if self.description_differs else "",
        )
        return "; ".join(filter(None, remarks))

    @property
    def warning(self) -> str:
        """The differences, for the answer; empty if there are none."""
        labels = ", ".join(map(quoted, self.missing_labels))
        sentences = (
            f"Warning: the cloud did not store these labels: {labels}. Rules for them do not"
            " protect it."
            if labels
            else "",
            "" if self.is_known else "Whether its labels were stored is not known.",
            "The cloud stored another description." if self.description_differs else "",
        )
        return " ".join(filter(None, sentences))


def compare_stored(
    stored: Snapshot | CustomImage, labels: Sequence[str], description: str | None = None
) -> StoredFacts:
    """Compare a snapshot or an image with its request.

    Args:
        stored: what the cloud returned; a field that it did not return is not known.
        labels: the requested labels.
        description: the requested description; None to ignore it.
    """
    known = stored.model_fields_set
    shown = stored.description if "description" in known else None
    differs = None not in (description, shown) and description != shown
    if not labels:
        return StoredFacts(None, description_differs=differs)
    if "labels" not in known:
        return StoredFacts(None, description_differs=differs, is_known=False)
    missing = tuple(label for label in labels if label not in (stored.labels or ()))
    return StoredFacts(not missing, missing, differs)
