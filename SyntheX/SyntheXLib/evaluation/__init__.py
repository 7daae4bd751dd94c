"""Metrics, activation curve and report."""
