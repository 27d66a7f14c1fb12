"""Simulators: they write published layouts from a seed, where the real data can't be shipped."""
