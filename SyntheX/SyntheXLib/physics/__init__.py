"""Spectra, attenuation and noise: tables and formulas, each with its source."""
