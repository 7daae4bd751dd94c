"""Masks and landmarks from images."""
