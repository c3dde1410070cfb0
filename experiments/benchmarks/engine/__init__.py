"""What an engine could gain on one GPU: ceilings of the device, each part of a step in several variants, XLA's flags.

    XLA_PYTHON_CLIENT_PREALLOCATE=false python -m experiments.benchmarks.engine --out FILE.json --seconds 170

CIFAR-10 shapes, width 128, random numbers. A module here is a group of measurements: its `cases` lists them. Nothing
stops the others: what fails, or comes too late, is a row that says so.
"""
