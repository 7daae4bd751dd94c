"""Compact Monte Carlo photon transport, the reference for scatter. `transport` alone needs numba; it is imported when a run starts."""
