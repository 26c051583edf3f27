"""Errors that say what is wrong, where, and what to do about it."""

__all__ = ["DataError", "DeviceError", "DvaeError", "ResultError", "UnknownNameError"]


class DvaeError(Exception):
    """Base of every error that dvae raises on purpose; the command line prints it in one line."""


class DataError(DvaeError, ValueError):
    """A value, a shape or a file does not hold what it must."""


class UnknownNameError(DvaeError, KeyError):
    """A name (factor distribution, recipe, experiment, profile) is not known."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0]) if self.args else ""


class DeviceError(DvaeError, RuntimeError):
    """A device was asked for that this machine does not have."""


class ResultError(DvaeError):
    """A stored result or checkpoint is missing, damaged or does not belong to this code."""
