"""Ways in which a row does not pass."""


class Differs(Exception):
    """Something is not as it should be; the text says what."""


class LeftOut(Exception):
    """Nothing was looked at; the text says why."""
