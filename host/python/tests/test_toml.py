import sys
import unittest
from pathlib import Path

from rewind.toml import value

VALUES = [
    True,
    -7,
    0.1,
    1e300,
    5e-324,
    float("inf"),
    'quoted "text" with \\ and \n and \x7f and é and 𝛼',
    [64, 64],
    [],
    {"name": "sgd", "lr": 0.1, "a b": {"c": [1, 2]}},
    {},
]


class Toml(unittest.TestCase):
    @unittest.skipIf(sys.version_info < (3, 11), "tomllib came with Python 3.11")
    def test_a_value_is_read_as_it_was_given(self) -> None:
        import tomllib

        for given in VALUES:
            self.assertEqual(tomllib.loads(f"key = {value(given)}")["key"], given)

    def test_what_has_no_form_is_refused(self) -> None:
        for given in (None, object(), {1, 2}):
            with self.assertRaises(TypeError):
                value(given)
        self.assertEqual(value(Path("a/b")), '"a/b"')
