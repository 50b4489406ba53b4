"""`rewind.strategy` without the program: options, states, plans, arrays, and contexts of given weights."""

import typing
import unittest

import numpy as np
import rewind.strategy as rs
from rewind.strategy import _arrays, _components, _options, _state


class Options(unittest.TestCase):
    def setUp(self):
        _components.FOUND.clear()

    def marked(self, function):
        rs.score(function)
        return _components.FOUND["score"]

    def test_types_defaults_limits_and_words_follow_from_the_signature(self):
        def mine(
            ctx,
            power: float = 0.5,
            steps: typing.Annotated[int, rs.Range(1, 9), "How many."] = 3,
            share: rs.Range(0, 1, open_low=True) = 0.5,
            way: typing.Literal["up", "down"] = "up",
            to: rs.Point = "init",
            sizes: list[int] = (1, 2),
            bare=True,
            maybe: float | None = None,
        ):
            """Scores.

            power: Exponent of
                the inputs.
            :param way: Where to.
            """

        component = self.marked(mine)
        schema = component.schema()
        self.assertEqual(schema["description"], "Scores.\n\npower: Exponent of\n    the inputs.")
        told = schema["properties"]
        self.assertEqual(told["power"], {"type": "number", "default": 0.5, "description": "Exponent of the inputs."})
        self.assertEqual(
            told["steps"], {"type": "integer", "minimum": 1, "maximum": 9, "default": 3, "description": "How many."}
        )
        self.assertEqual((told["share"]["exclusiveMinimum"], told["share"]["maximum"]), (0, 1))
        self.assertEqual(told["way"]["enum"], ["up", "down"])
        self.assertEqual(told["to"]["x-type"], "point")
        self.assertEqual((told["sizes"]["items"], told["sizes"]["default"]), ({"type": "integer"}, [1, 2]))
        self.assertEqual(told["bare"]["type"], "boolean")
        self.assertEqual((told["maybe"]["type"], "default" in told["maybe"]), (["number", "null"], False))
        self.assertEqual(component.made(_options.resolve(component, {"to": "4ep"}))["points"], ["4ep"])

    def test_what_is_given_is_checked(self):
        def mine(ctx, power: float = 0.5, n: rs.Range(1, 3) = 2):
            pass

        component = self.marked(mine)
        self.assertEqual(_options.resolve(component, {"power": 1}), {"power": 1.0, "n": 2})
        for given, said in [
            ({"powr": 1}, "unknown option `powr`; `mine` has `power`, `n`"),
            ({"power": "x"}, "`power` is 'x', expected a number"),
            ({"power": True}, "`power` is True, expected a number"),
            ({"n": 4}, "`n` is 4, expected at least 1 and at most 3"),
            ({"n": 1.5}, "`n` is 1.5, expected a whole number"),
        ]:
            with self.assertRaisesRegex(_options.BadOption, said):
                _options.resolve(component, given)

    def test_signatures_that_are_no_options_are_refused(self):
        def none():
            pass

        def required(ctx, power):
            pass

        def rest(ctx, **more):
            pass

        def strange(ctx, power: dict = {}):
            pass

        def beyond(ctx, power: rs.Range(0, 1) = 2.0):
            pass

        for function, said in [
            (none, "expected the context first"),
            (required, "`power` has no default"),
            (rest, "cannot be an option"),
            (strange, "has the type"),
            (beyond, "the default of `power` is 2.0, expected at least 0 and at most 1"),
        ]:
            with self.assertRaisesRegex(TypeError, said):
                rs.score(function)
        rs.score(lambda ctx: [])
        with self.assertRaisesRegex(TypeError, "a second score"):
            rs.score(lambda ctx: [])

    def test_cadence_and_units_may_follow_from_options(self):
        @rs.mask(cadence=lambda every: rs.Cadence(between_levels=True, every=every), units=rs.UnitRule(multiple=8))
        def mine(ctx, every: str = "1ep", other: int = 1):
            pass

        made = _components.FOUND["mask"].made({"every": "2ep", "other": 1})
        self.assertEqual(made["cadence"]["within_level"], {"every": "2ep", "from": "2ep", "until": None})
        self.assertTrue(made["cadence"]["between_levels"])
        self.assertEqual(made["unit_rule"], {"measure": "weights", "scope": "global", "multiple": 8})


class States(unittest.TestCase):
    def test_a_state_comes_back_and_is_no_pickle(self):
        state = {"n": 1, "list": [1.5, "x", None, {"deep": np.arange(6, dtype=np.int64).reshape(2, 3)}]}
        state["also"] = np.array([np.nan, 1], np.float32)
        saved = _state.save(state)
        again = _state.load(saved)
        self.assertEqual(again["n"], 1)
        np.testing.assert_array_equal(again["list"][3]["deep"], [[0, 1, 2], [3, 4, 5]])
        np.testing.assert_array_equal(again["also"], state["also"])
        self.assertEqual(_state.save(again), saved)
        self.assertEqual((_state.save({}), _state.load(b"")), (b"", {}))

    def test_what_no_state_holds_and_what_is_no_state_are_refused(self):
        for value in [object(), {1: 2}, {"$array": 1}, np.array(["x"]), {1, 2}]:
            with self.assertRaises(_state.BadState):
                _state.save({"key": value})
        saved = _state.save({"a": np.zeros(3)})
        for damaged in [b"{}", b"\xff" * 7, saved[:-1], saved + b"\0", saved[: len(saved) // 2]]:
            with self.assertRaises(_state.BadState):
                _state.load(damaged)


class Arrays(unittest.TestCase):
    def test_what_is_given_is_float32_of_the_layers_shape(self):
        layers = rs.Still({"a": np.ones((2, 3)), "b": np.ones(4)}).layers
        good = [np.ones((2, 3), np.float32), np.ones(4, np.float32)]
        taken = _arrays.receive("`f`", "the score", good, layers)
        self.assertEqual([it.dtype for it in taken], [np.float32] * 2)
        masks = _arrays.receive("`f`", "the mask", [it > 0 for it in good], layers, is_mask=True)
        self.assertEqual([it.dtype for it in masks], [np.float32] * 2)
        for given, said in [
            (None, "gave None as the score"),
            (good[0], "gave one ndarray"),
            (good[:1], "gave 1 arrays as the score, expected 2"),
            ([good[0], good[1].astype(float)], r'of layer `b` an array of float64.*astype\("float32"\)'),
            ([good[0].T, good[1]], r"of layer `a` an array of shape \(3, 2\), expected \(2, 3\)"),
            ([good[0] > 0, good[1]], "an array of bool, expected float32"),
            ([good[0], [1, 2, 3, 4]], "of layer `b` a list"),
        ]:
            with self.assertRaisesRegex(_arrays.WrongArrays, said):
                _arrays.receive("`f`", "the score", given, layers)


class Contexts(unittest.TestCase):
    def test_a_context_of_given_weights_selects_as_the_program_does(self):
        ctx = rs.Still({"a": [[1, 2], [3, 3]], "b": [[3, 0]]}, density=0.5)
        self.assertEqual((ctx.target, ctx.layers[0].fan_in, ctx.layers[0].size), (3, 2, 4))
        first, second = ctx.select([w.abs() for w in ctx.weights()])
        np.testing.assert_array_equal(first, [[0, 0], [1, 1]])
        np.testing.assert_array_equal(second, [[1, 0]])
        first, second = ctx.select(ctx.weights(), total=2)
        np.testing.assert_array_equal(second, [[0, 0]])
        with self.assertRaisesRegex(rs.HostError, "no `gradients`"):
            ctx.gradients()

    def test_plans_are_what_the_program_reads(self):
        plan, lists = rs.to_point("4ep").wire()
        self.assertEqual((plan["weights"], plan["optimizer"], lists), ({"from": "4ep"}, "clear", []))
        plan, lists = rs.Plan(weights={"magnitudes": "init"}, redefine={"init": [1]}).wire()
        self.assertEqual(plan["weights"], {"mixed": {"magnitudes": "init", "signs": None}})
        self.assertEqual((plan["redefine"], lists), (["init"], [("weights of `init`", [1])]))


if __name__ == "__main__":
    unittest.main()
