"""How a call to MLflow may end, other than well. Apart from ``remote``, because importing that takes seconds."""


class Refused(Exception):
    """MLflow will never take this."""


class RunGone(Exception):
    """The run was deleted in MLflow."""


class Unavailable(Exception):
    """MLflow is down, slow, locked or denies access: time may mend it."""
