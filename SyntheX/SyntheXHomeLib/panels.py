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


def durationText(seconds: float) -> str:
    """``1 h 2 min``, ``3 min 4 s`` or ``5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)
    return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=rest) if minutes else _("{seconds} s").format(seconds=rest)
