"""Slicer without Slicer: PythonQt-like widgets over PySide6 and real MRML from slicer-core, for tests of module panels."""
