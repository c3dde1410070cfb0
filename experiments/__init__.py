"""Sweeps over configs: each module is run as `python -m experiments.NAME` and holds no algorithm of its own."""
