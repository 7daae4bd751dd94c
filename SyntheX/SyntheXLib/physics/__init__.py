"""Spectra, attenuation, scatter, detector and noise: tables and formulas, each with its source."""
