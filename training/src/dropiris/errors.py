"""Errors a user can act on: each carries one sentence that names what is wrong and what to do."""


class DropIrisError(Exception):
    """Base of every expected failure; ``str(error)`` is shown to the user as it is."""


class InputError(DropIrisError):
    """A file, volume, reference or setting that cannot be used."""


class ModelError(DropIrisError):
    """A model bundle that is missing, damaged or does not fit the request."""


class DeviceError(DropIrisError):
    """The chosen device cannot run the model, or its memory is too small in every fallback."""


class WorkerError(DropIrisError):
    """The worker process died, could not start, or answered nonsense."""


class Cancelled(DropIrisError):
    """The user cancelled; nothing was changed."""

    def __init__(self, message: str = "Cancelled; nothing was changed.") -> None:
        super().__init__(message)
