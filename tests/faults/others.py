"""Changes in the cloud that someone else makes, without the servers of the test."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.faults.change_log import RequestedWrite
from tests.faults.faults import OthersAction

PROTECTED_LABEL = "golden"

_COPY_VM = """INSERT INTO vms
    (name, folded, environment, config, labels, floating_ip, contract_id, resting, born)
    SELECT :name, :name, environment, config, labels, NULL, contract_id, resting, born
    FROM vms ORDER BY id LIMIT 1"""
_COPY_SNAPSHOT = """INSERT INTO snapshots (name, folded, description, labels, vm_id, vm_name,
    config, has_floating_ip, began, gigabytes, outcome)
    SELECT :name, :name, '', '[]', vm_id, vm_name, config, has_floating_ip, began, gigabytes,
    outcome FROM snapshots ORDER BY id LIMIT 1"""
_DELETE_NEWEST_SIBLING = """DELETE FROM snapshots WHERE id = (
    SELECT id FROM snapshots AS sibling WHERE sibling.id != :target AND sibling.vm_id = (
        SELECT vm_id FROM snapshots WHERE id = :target) ORDER BY began DESC LIMIT 1)"""
_DELETE = "DELETE FROM snapshots WHERE id = :target"
_PROTECT = "UPDATE snapshots SET labels = :labels WHERE id = :target"


class OthersDid(NamedTuple):
    """One change by someone else.

    Attributes:
        tick: the tick of the exchange log at that moment.
        time: seconds of the monotonic clock.
        change_id: id of its row in the change log.
    """

    tick: int
    time: float
    change_id: int


def change_cloud(database: Path, action: OthersAction, write: RequestedWrite) -> list[int]:
    """Change what a write is about, and return the ids of the changes in the change log."""
    parameters = {
        "target": write.target,
        "name": write.name,
        "labels": json.dumps([PROTECTED_LABEL]),
    }
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        (before,) = connection.execute("SELECT coalesce(max(id), 0) FROM change_log").fetchone()
        connection.execute("UPDATE actor SET others = 1")
        try:
            connection.execute(_statement(action, write), parameters)
        except sqlite3.IntegrityError:  # the name is taken already
            connection.execute("ROLLBACK")
            return []
        connection.execute("UPDATE actor SET others = 0")
        rows = connection.execute("SELECT id FROM change_log WHERE id > ?", (before,)).fetchall()
        connection.execute("COMMIT")
    return [number for (number,) in rows]


def _statement(action: OthersAction, write: RequestedWrite) -> str:
    if write.tool == "create_snapshot":
        return _COPY_SNAPSHOT
    match action:
        case "delete a sibling":
            return _DELETE_NEWEST_SIBLING
        case "delete the target":
            return _DELETE
        case "protect the target":
            return _PROTECT
        case "take the name":
            return _COPY_VM if write.name else _PROTECT
