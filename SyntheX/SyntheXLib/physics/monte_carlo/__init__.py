"""Compact Monte Carlo photon transport: the reference for scatter. Only `transport` needs numba, and is imported when a simulation starts."""
