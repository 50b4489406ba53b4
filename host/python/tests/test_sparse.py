import copy
import gc
import io
import unittest
import warnings

import rewind

from . import made
from .made import WithProgram, needs


def network():
    """The run's network in PyTorch, under the same names."""
    import torch

    class Mlp(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = torch.nn.Linear(40, 8)
            self.bn1 = torch.nn.BatchNorm1d(8)
            self.fc2 = torch.nn.Linear(8, 10)

        def forward(self, x):
            return self.fc2(self.bn1(self.fc1(x)).relu())

    torch.manual_seed(1)
    return Mlp()


def train(module, optimizer, steps: int = 30) -> None:
    import torch

    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        x = torch.randn(32, 40, generator=generator)
        y = torch.randint(10, (32,), generator=generator)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()


def optimizers():
    """Each as a name and a function of the parameters."""
    import torch

    return {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4),
        "sgd with nesterov, one tensor after the other": lambda p: torch.optim.SGD(
            p, lr=0.1, momentum=0.9, nesterov=True, foreach=False
        ),
        "sgd, fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
        "adamw with amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-2, amsgrad=True, foreach=True),
        "adamw, fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
        "rmsprop, centred": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, centered=True),
    }


@needs("torch", "numpy")
class Apply(WithProgram):
    def zeros(self, module, applied, optimizer=None) -> None:
        """Pruned weights, and what the optimizer keeps of them, are exactly 0; others have moved."""
        parameters = dict(module.named_parameters())
        for name, mask in applied.masks.items():
            self.assertEqual(int((parameters[name][~mask] != 0).sum()), 0, name)
            if optimizer is not None:
                for key, state in optimizer.state[parameters[name]].items():
                    if state is not None and state.shape == mask.shape:
                        self.assertEqual(int((state[~mask] != 0).sum()), 0, f"{name} {key}")
                        self.assertGreater(int((state[mask] != 0).sum()), 0, f"{name} {key}")

    def test_weights_masks_and_statistics_are_those_of_the_level(self) -> None:
        module, run = network(), made.run()
        applied = rewind.apply(module, run, 2, seed=3)
        state = module.state_dict()
        weights = run.weights(2, 3, framework="torch")
        self.assertIn("bn1.running_mean", weights)
        for name, tensor in weights.items():
            self.assertTrue(bool((state[name] == tensor).all()), name)
        for name, mask in run.mask(2, 3, framework="torch").items():
            self.assertTrue(bool((applied.masks[name] == mask).all()))
        self.assertEqual(applied.density, 0.25)
        self.assertEqual(applied.misfits, (["bn1.num_batches_tracked"], []))
        # The outputs are the run's: what it recorded of the test samples follows from them.
        start = rewind.apply(network(), str(run.path), 1, seed=3, at="start")
        self.assertEqual(start.density, 0.5)

    def test_zeros_stay_exactly_zero_with_every_optimizer(self) -> None:
        for name, make in optimizers().items():
            with self.subTest(name):
                module = network()
                applied = rewind.apply(module, made.run(), 2)
                before = module.fc1.weight.detach().clone()
                optimizer = make(module.parameters())
                train(module, optimizer)
                self.zeros(module, applied, optimizer)
                moved = (module.fc1.weight != before)[applied.masks["fc1.weight"]]
                self.assertGreater(int(moved.sum()), moved.numel() // 2)

    def test_an_optimizer_that_was_at_work_before_loses_its_momentum_of_pruned_weights(self) -> None:
        for name, make in optimizers().items():
            with self.subTest(name):
                module = network()
                optimizer = make(module.parameters())
                train(module, optimizer, 3)
                applied = rewind.apply(module, made.run(), 2)
                train(module, optimizer, 1)
                self.zeros(module, applied, optimizer)

    def test_survivors_train_as_if_the_network_were_multiplied_by_its_mask(self) -> None:
        import torch

        run = made.run()
        for name, make in optimizers().items():
            with self.subTest(name):
                module, reference = network(), network()
                applied = rewind.apply(module, run, 2)
                reference.load_state_dict(module.state_dict())
                train(module, make(module.parameters()), 5)
                optimizer = make(reference.parameters())
                for _ in range(1):
                    generator = torch.Generator().manual_seed(2)
                    for _ in range(5):
                        x = torch.randn(32, 40, generator=generator)
                        y = torch.randint(10, (32,), generator=generator)
                        optimizer.zero_grad()
                        torch.nn.functional.cross_entropy(reference(x), y).backward()
                        for key, mask in applied.masks.items():
                            reference.get_parameter(key).grad *= mask
                        optimizer.step()
                for key, tensor in reference.state_dict().items():
                    self.assertTrue(bool((tensor == module.state_dict()[key]).all()), key)

    def test_gradients_that_are_not_finite_leave_zeros_alone(self) -> None:
        module = network()
        applied = rewind.apply(module, made.run(), 2)
        (module.fc1.weight.sum() * float("inf")).backward()
        self.assertEqual(int((module.fc1.weight.grad[~applied.masks["fc1.weight"]] != 0).sum()), 0)

    def test_names_and_shapes_that_do_not_fit_are_told_and_change_nothing(self) -> None:
        import torch

        run, module = made.run(), network()
        module.head = torch.nn.Linear(2, 2)
        del module.bn1
        before = copy.deepcopy(module.state_dict())
        with self.assertRaises(rewind.Misfit) as raised:
            rewind.apply(module, run, 1)
        said = str(raised.exception)
        self.assertIn("the level lacks `head.weight`", said)
        self.assertIn("the module lacks `bn1.running_mean`", said)
        self.assertIn("strict=False takes what fits", said)
        wide = network()
        wide.fc1 = torch.nn.Linear(40, 9)
        for strict in (True, False):
            with self.assertRaisesRegex(
                rewind.Misfit, r"`fc1.weight` has shape \[8, 40\] in the level and \[9, 40\] here"
            ):
                rewind.apply(wide, run, 1, strict=strict)
        with self.assertRaisesRegex(rewind.Misfit, "the module has none of fc1.weight, fc2.weight"):
            rewind.apply(torch.nn.Linear(2, 2), run, 1, strict=False)
        for name, tensor in before.items():
            self.assertTrue(bool((module.state_dict()[name] == tensor).all()))
        applied = rewind.apply(module, run, 1, strict=False)
        self.assertEqual(applied.misfits.missing, ["head.weight", "head.bias"])
        self.assertIn("bn1.weight", applied.misfits.unexpected)

    def test_a_removed_mask_holds_nothing_any_more(self) -> None:
        module = network()
        applied = rewind.apply(module, made.run(), 2)
        mask = applied.masks["fc1.weight"]
        applied.remove()
        train(module, optimizers()["sgd"](module.parameters()), 3)
        self.assertGreater(int((module.fc1.weight[~mask] != 0).sum()), 0)

    def test_a_second_level_replaces_the_first(self) -> None:
        module = network()
        rewind.apply(module, made.run(), 2)
        applied = rewind.apply(module, made.run(), 1)
        optimizer = optimizers()["sgd"](module.parameters())
        train(module, optimizer)
        self.zeros(module, applied, optimizer)
        self.assertGreater(int((module.fc1.weight != 0).sum()), 8 * 40 // 4)

    def test_hooks_live_and_die_with_the_module(self) -> None:
        from torch.optim import optimizer as torch_optimizer

        hooks = torch_optimizer._global_optimizer_post_hooks
        count = len(hooks)
        module = network()
        rewind.apply(module, made.run(), 2)
        gc.collect()
        self.assertEqual(len(hooks), count + 1)
        optimizer = optimizers()["adamw"](module.parameters())
        train(module, optimizer)
        self.assertEqual(int((module.fc1.weight != 0).sum() + (module.fc2.weight != 0).sum()), 100)
        del module, optimizer
        gc.collect()
        self.assertEqual(len(hooks), count)

    def test_the_module_stays_what_it_was_for_saving_and_copying(self) -> None:
        import torch

        module = network()
        names = list(module.state_dict())
        rewind.apply(module, made.run(), 2)
        self.assertEqual(list(module.state_dict()), names)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.save(module.state_dict(), io.BytesIO())
            twin = copy.deepcopy(module)
        # The copy is a module of its own, which nobody holds.
        train(twin, optimizers()["sgd"](twin.parameters()), 3)
        self.assertGreater(int((twin.fc1.weight != 0).sum()), 8 * 40 // 2)

    def test_what_was_written_over_is_enforced_again(self) -> None:
        module = network()
        applied = rewind.apply(module, made.run(), 2)
        module.load_state_dict(network().state_dict())
        applied.enforce()
        self.zeros(module, applied)

    def test_a_sweep_is_no_run(self) -> None:
        with self.assertRaisesRegex(TypeError, "is a sweep: name one of its runs, such as sweep"):
            rewind.apply(network(), made.sweep().path)


@needs("torch", "numpy")
class Export(WithProgram):
    def test_a_module_is_exported_and_the_program_reads_it(self) -> None:
        import torch

        class Constants(torch.nn.Module):
            """Has a constant, and a weight that is used twice under two names."""

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("scale", torch.linspace(0.5, 1.5, 40))
                self.fc1 = torch.nn.Linear(40, 40)
                self.fc2 = torch.nn.Linear(40, 40)
                self.fc2.weight = self.fc1.weight
                self.fc3 = torch.nn.Linear(40, 10)

            def forward(self, x):
                return self.fc3(self.fc2(self.fc1(x * self.scale).relu()).relu())

        file = self.folder / "net.pt2"
        module = Constants()
        written = rewind.export(module, torch.randn(2, 40), file)
        self.assertEqual(written, [file])
        self.assertTrue(module.training)
        shown = rewind.program.ask(["model", "show", str(file)])[0]
        self.assertIn("fc3.weight", str(shown))
        experiment = made.experiment(self.folder, epochs=1)
        run = rewind.run(
            experiment,
            set={"model": {"name": "pt2", "file": file}, "prune.levels": 1},
            seeds=[0],
            runs=self.folder / "runs",
            threads=1,
            progress=False,
        )
        applied = rewind.apply(module, run, 1)
        self.assertEqual(applied.density, 0.5)
        self.assertEqual(applied.misfits, (["scale"], []))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        train(module, optimizer)
        self.assertEqual(sum(int((module.get_parameter(it) != 0).sum()) for it in applied.masks), 1000)

    def test_an_example_of_one_sample_is_refused(self) -> None:
        import torch

        with self.assertRaisesRegex(ValueError, "expected two or more"):
            rewind.export(network(), torch.randn(1, 40), self.folder / "net.pt2")


if __name__ == "__main__":
    unittest.main()
