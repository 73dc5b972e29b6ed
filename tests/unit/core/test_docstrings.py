"""The descriptions of tools are the same if Python removes docstrings."""

import inspect

import pytest

from snapshot_mcp.core.docstrings import read_docstring
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_description_of_a_tool_is_read_from_its_source(
    tool: ToolDeclaration, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, description = tool.function, tool.description
    assert description
    monkeypatch.setattr(function, "__doc__", None)
    assert " ".join(read_docstring(function).split()) == description


def test_a_class_is_read_too_and_a_missing_docstring_is_empty() -> None:
    class Documented:
        """A text.

        Another one.
        """

    class Undocumented:
        pass

    expected = Documented.__doc__
    Documented.__doc__ = None
    assert read_docstring(Documented) == inspect.cleandoc(expected or "")
    assert read_docstring(Undocumented) == ""


def test_without_source_the_error_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", fail)
    with pytest.raises(ConfigurationError, match=r"-OO.*Start it without"):
        read_docstring(lambda: None)
