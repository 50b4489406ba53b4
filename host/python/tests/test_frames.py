import unittest

from rewind import frames

from .made import needs

ROWS = [
    {"seed": 0, "loss": 0.5, "note": None},
    {"seed": 1, "loss": None, "nll": 2.0, "note": "x"},
]


class Frames(unittest.TestCase):
    def test_a_column_that_only_some_rows_have_stands_behind_the_one_that_it_follows(self) -> None:
        table = frames.make(ROWS, "rows")
        self.assertEqual(table.columns, ["seed", "loss", "nll", "note"])
        self.assertEqual(table.column("nll"), [None, 2.0])
        self.assertEqual(repr(table).splitlines(), ["seed  loss  nll  note", "   0   0.5", "   1          2     x"])
        self.assertIn("<td>x</td>", table._repr_html_())

    def test_no_rows_are_an_empty_table(self) -> None:
        self.assertEqual(frames.make([], "rows"), [])
        self.assertEqual(repr(frames.make([], "rows")), "no rows")

    def test_markup_in_a_value_stays_text(self) -> None:
        self.assertNotIn("<b>", frames.make([{"name": "<b>"}], "rows")._repr_html_())

    @needs("pandas")
    def test_pandas_gets_the_same_columns_and_values(self) -> None:
        frame = frames.make(ROWS, "pandas")
        self.assertEqual(list(frame.columns), ["seed", "loss", "nll", "note"])
        self.assertEqual(frame["seed"].tolist(), [0, 1])
        self.assertTrue(frame["loss"].isna().tolist() == [False, True])
        self.assertEqual(len(frames.make([], "pandas")), 0)
        self.assertIs(type(frames.make(ROWS)), type(frame))

    @needs("polars")
    def test_polars_gets_the_same_columns_and_values(self) -> None:
        frame = frames.make(ROWS, "polars")
        self.assertEqual(frame.columns, ["seed", "loss", "nll", "note"])
        self.assertEqual(frame["loss"].to_list(), [0.5, None])
        self.assertEqual(frames.make([], "polars").height, 0)

    def test_another_kind_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "expected 'pandas', 'polars' or 'rows'"):
            frames.make(ROWS, "arrow")  # type: ignore[arg-type]
