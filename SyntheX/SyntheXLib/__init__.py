"""SyntheX: from annotated CT to networks that read real fluoroscopy."""

__version__ = "0.1.0"
