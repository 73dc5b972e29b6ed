"""Parse the cloud's JSON into models. Any field may be missing, null, new or of another type.

A field that cannot be read becomes None, not an error. Only an object without an id raises
`ProtocolError`.
Source: the vendor's OpenAPI document and its recorded replies, which disagree on many types.
"""

import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

from pydantic.alias_generators import to_camel

from snapshot_mcp.cloud.damaged_json import UNREADABLE
from snapshot_mcp.cloud.field_readers import (
    AlteredFields,
    as_mapping,
    read_boolean,
    read_count,
    read_id,
    read_labels,
    read_number,
    read_text,
    read_time,
)
from snapshot_mcp.core.errors import ProtocolError
from snapshot_mcp.core.sanitize import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH
from snapshot_mcp.models.cloud import (
    MAX_ID,
    CustomImage,
    FrozenModel,
    Snapshot,
    SnapshotEvent,
    VirtualMachine,
)

F = TypeVar("F", bound=FrozenModel)

_MAX_LENGTHS = {
    "description": MAX_DESCRIPTION_LENGTH,
    "message": MAX_DESCRIPTION_LENGTH,
    "public_key": 2_000,
    "status": 30,
    "vm_status": 30,
}
_ALTERNATIVE_KEYS: Mapping[str, tuple[str, ...]] = {
    "vm_id": ("virtual_machine_id", "instance_id"),
    "vm_name": ("virtual_machine_name", "instance_name"),
    "labels": ("tags",),
}
_DETAIL_FIELDS = frozenset(
    {
        *("vm_environment", "vm_flavor", "vm_image", "vm_keypair", "volume_id", "volume_name"),
        *("description", "has_floating_ip", "is_image"),
    }
)
"""Fields of a snapshot that lists do not use."""


_OWN_FIELDS = ("altered", "deletion_sent_at", "in_cluster", "boots_from_volume")
"""Fields of a model that this server fills; those of the cloud are ignored."""


class FieldParser(NamedTuple):
    """Parses one field of a model: the keys that may hold it, and its reader."""

    name: str
    keys: tuple[str, ...]
    read: Callable[[object, str, AlteredFields], object]


class RawEntry(NamedTuple):
    """An entry of a list with only its id parsed, because most entries are dropped."""

    id: int
    raw: Mapping[str, object]


def parse_entry(raw: object) -> RawEntry | None:
    """Return an entry with its id; None if it is not an object or has no id."""
    mapping = as_mapping(raw)
    if mapping is None:
        return None
    number = mapping.get("id")
    if type(number) is int and 0 < number <= MAX_ID:
        return RawEntry(number, mapping)  # the usual case
    number = read_id(number)
    return None if number is None else RawEntry(number, mapping)


def build_field_parser(name: str) -> Callable[[RawEntry], Any]:
    """Return a parser for one field of a snapshot; it returns None where the default applies."""
    parser = _snapshot_field_parsers((name,))[0]
    read, altered = parser.read, AlteredFields()

    def parse(entry: RawEntry) -> Any:  # noqa: ANN401 - of the type that the model declares
        value = entry.raw.get(name)
        parsed = None if value is None else read(value, name, altered)
        return _parse_field(parser, entry.raw, "", altered) if parsed is None else parsed

    return parse


def parse_fields(entry: RawEntry, names: tuple[str, ...]) -> dict[str, Any]:
    """Parse some fields of a snapshot; the result omits fields without a value.

    Raises:
        KeyError: a snapshot has no field of this name.
    """
    altered, raw = AlteredFields(), entry.raw
    fields: dict[str, Any] = {}
    for parser in _snapshot_field_parsers(names):
        name, _, read = parser
        value = raw.get(name)
        parsed = None if value is None else read(value, name, altered)
        if parsed is None:
            parsed = _parse_field(parser, raw, "", altered)  # try the other keys
        if parsed is not None:
            fields[name] = parsed
    return fields


def parse_partial_snapshot(entry: RawEntry, names: tuple[str, ...]) -> Snapshot:
    """Return a snapshot with only these fields; the others have their defaults."""
    return Snapshot(id=entry.id, **parse_fields(entry, names))


def entry_keys(names: Container[str] | None = None) -> Iterable[str]:
    """Yield every key of a list's entry that may hold its id or one of the fields `names`.

    Without `names`, yield the keys of all fields that lists use.
    """
    for parser in _field_parsers(Snapshot):
        wanted = parser.name not in _DETAIL_FIELDS if names is None else parser.name in names
        if wanted or parser.name == "id":
            yield from parser.keys


def parse_snapshot(raw: object) -> Snapshot:
    """Parse one snapshot. Without `custom_image`, it is unknown whether the snapshot has an image.

    Raises:
        ProtocolError: it is not an object, or has no id.
    """
    snapshot = _parse_model(Snapshot, raw, "a snapshot")
    if snapshot.custom_image is None and _says_no_image(as_mapping(raw) or {}):
        return snapshot.model_copy(update={"custom_image": None})
    return snapshot


def _says_no_image(raw: Mapping[str, object]) -> bool:
    keys = _field_parsers_by_name(Snapshot)["custom_image"].keys
    values = [raw[key] for key in keys if key in raw]
    return bool(values) and all(value in (None, "", [], {}) for value in values)


_MISSING = object()
_FLOATING_IPS: Mapping[type, bool] = {type(None): False, str: True}
"""Whether the value of `floating_ip` of this type means that there is one; else it is unknown."""


def parse_virtual_machine(raw: object) -> VirtualMachine:
    """Parse one VM.

    Raises:
        ProtocolError: it is not an object, or has no id.
    """
    vm = _parse_model(VirtualMachine, raw, "a VM")
    mapping = as_mapping(raw) or {}
    volumes, floating_ip = mapping.get("volume_attachments"), mapping.get("floating_ip", _MISSING)
    known = isinstance(volumes, list)
    facts = {
        "in_cluster": _is_in_cluster(mapping),
        "boots_from_volume": _boots_from_volume(mapping),
        "volume_count": len(typing.cast("list[object]", volumes)) if known else None,
        "has_floating_ip": _FLOATING_IPS.get(type(floating_ip)),
    }
    return vm.model_copy(update=facts)


def parse_image(raw: object) -> CustomImage:
    """Parse one image, which must have an id.

    Raises:
        ProtocolError: it is not an object, or has no id.
    """
    return _parse_model(CustomImage, raw, "an image")


def parse_event(entry: RawEntry) -> SnapshotEvent:
    """Parse one event of a snapshot."""
    return _parse_model(SnapshotEvent, entry.raw, "an event")


def require_object(body: object) -> Mapping[str, object]:
    """Return the body of an answer, which must be a JSON object.

    Raises:
        ProtocolError: it is not.
    """
    if not isinstance(body, Mapping):
        raise ProtocolError("The cloud's answer is not a JSON object.")
    return typing.cast("Mapping[str, object]", body)


def get_object(body: Mapping[str, object], *keys: str) -> object:
    """Return the object under the first of `keys` that exists; of a list, its only entry.

    Source: a restore returns `instances` in the recorded replies, `instance` in the document.

    Raises:
        ProtocolError: the body has none.
    """
    for key in keys:
        value = body.get(key)
        if isinstance(value, list):
            entries = typing.cast("list[object]", value)
            value = entries[0] if len(entries) == 1 else None
        if isinstance(value, Mapping):
            return typing.cast("Mapping[str, object]", value)
    raise ProtocolError(f'The cloud\'s answer has no "{keys[0]}".')


def get_list(body: Mapping[str, object], key: str) -> list[object]:
    """Return the list under `key`.

    Raises:
        ProtocolError: the body has none.
    """
    value = body.get(key)
    if not isinstance(value, list):
        raise ProtocolError(f'The cloud\'s answer has no list of "{key}".')
    return typing.cast("list[object]", value)


def _is_in_cluster(raw: Mapping[str, object]) -> bool | None:
    if "cluster_id" not in raw:
        return None
    # An id of another type is an id too.
    return raw["cluster_id"] not in (None, 0, "", False)


def _boots_from_volume(raw: Mapping[str, object]) -> bool | None:
    # Source: volume_attachments[] with `bootable`, or with `volume.bootable` in the recorded
    # replies. An ordinary VM has no attachments.
    if "volume_attachments" not in raw:
        return None
    attachments = raw["volume_attachments"]
    if attachments is None:
        return False
    if not isinstance(attachments, list):
        return None
    answers = {_is_bootable(entry) for entry in typing.cast("list[object]", attachments)}
    return True if True in answers else None if None in answers else False


def _is_bootable(attachment: object) -> bool | None:
    entry = as_mapping(attachment) or {}
    volume = as_mapping(entry.get("volume")) or {}
    answers = [read_boolean(holder.get("bootable")) for holder in (entry, volume)]
    return True if True in answers else False if False in answers else None


def _parse_model(model: type[F], raw: object, noun: str) -> F:
    entry = parse_entry(raw)
    if entry is None:
        raise ProtocolError(f"The cloud's answer has {noun} without an id.")
    altered = AlteredFields()
    values = _parse_model_fields(model, entry.raw, "", altered)
    if altered:
        values["altered"] = tuple(altered)
    return model(**values)


def _parse_model_fields(
    model: type[FrozenModel], raw: Mapping[str, object], prefix: str, altered: AlteredFields
) -> dict[str, object]:
    values: dict[str, object] = {}
    for parser in _field_parsers(model):
        value = _parse_field(parser, raw, prefix, altered)
        if value is not None:
            values[parser.name] = value
    return values


def _parse_field(
    parser: FieldParser, raw: Mapping[str, object], prefix: str, altered: AlteredFields
) -> object:
    for key in parser.keys:
        value = raw.get(key)
        parsed = None if value is None else parser.read(value, prefix + parser.name, altered)
        if parsed is not None:
            return parsed
        if value is UNREADABLE:
            altered.append(prefix + parser.name)
    return None


@cache
def _field_parsers_by_name(model: type[FrozenModel]) -> Mapping[str, FieldParser]:
    return {parser.name: parser for parser in _field_parsers(model)}


@cache
def _snapshot_field_parsers(names: tuple[str, ...]) -> tuple[FieldParser, ...]:
    return tuple(_field_parsers_by_name(Snapshot)[name] for name in names)


@cache
def _field_parsers(model: type[FrozenModel]) -> tuple[FieldParser, ...]:
    return tuple(
        FieldParser(
            name,
            (name, to_camel(name), *_ALTERNATIVE_KEYS.get(name, ())),
            _select_reader(name, field),
        )
        for name, field in (
            (name, _inner_type(info.annotation)) for name, info in model.model_fields.items()
        )
        if name not in _OWN_FIELDS
    )


def _inner_type(annotation: object) -> object:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return next(arg for arg in typing.get_args(annotation) if arg is not types.NoneType)
    return annotation


def _select_reader(name: str, field_type: object) -> Callable[[object, str, AlteredFields], object]:
    if field_type is int and (name == "id" or name.endswith("_id")):
        return lambda value, _field, _altered: read_id(value)
    if isinstance(field_type, type) and issubclass(field_type, FrozenModel):
        return partial(_read_nested, field_type)
    if typing.get_origin(field_type) is tuple:
        return read_labels
    if field_type is str:
        return partial(read_text, _MAX_LENGTHS.get(name, MAX_NAME_LENGTH))
    return _READERS[typing.cast("type", field_type)]


def _read_nested(
    model: type[FrozenModel], value: object, field: str, altered: AlteredFields
) -> FrozenModel | None:
    if isinstance(value, list):
        entries = typing.cast("list[object]", value)
        value = entries[0] if entries else None
    raw = as_mapping(value)
    if raw is None and isinstance(value, str) and value.strip() and "name" in model.model_fields:
        raw = {"name": value}
    values = _parse_model_fields(model, raw, f"{field}.", altered) if raw else {}
    return model(**values) if values else None


_READERS: Mapping[type, Callable[[object, str, AlteredFields], object]] = {
    int: lambda value, _field, _altered: read_count(value),
    float: lambda value, _field, _altered: read_number(value),
    bool: lambda value, _field, _altered: read_boolean(value),
    datetime: lambda value, _field, _altered: read_time(value),
}
