"""What the panels of all modules do alike."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


def enable(widget: Any, what: str, lacks: str = "") -> None:
    """Enable a widget unless it lacks something; its tooltip says what it does, or what it lacks."""
    widget.enabled = not lacks
    widget.toolTip = lacks or what


def say(label: Any, text: str) -> None:
    """Show a text in a label, which takes no room while there is none."""
    label.text = text
    label.visible = text != ""


def needs(*parts: tuple[bool, str]) -> str:
    """A sentence that names the parts that are not there, each as (there, name); empty when all are."""
    missing = [name for there, name in parts if not there]
    return _("Needs {parts}.").format(parts=_(" and ").join(missing)) if missing else ""
