"""What the tests of pre-training share."""

from commands import command  # noqa: F401  a fixture
