"""Puts a level's masks and weights into a module, and keeps pruned weights zero in further training."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Union

from .errors import Misfit
from .runs import AnyPath, Run, load

if TYPE_CHECKING:
    import torch

# The only buffers that training changes and something computes with: others, such as counts, indices and constants of
# an imported network, are no part of a level.
TRAINED_BUFFERS = ("running_mean", "running_var")

# What is applied to which module. It stands beside the modules: in them it would be copied and pickled with them.
APPLIED: "weakref.WeakKeyDictionary[Any, Applied]" = weakref.WeakKeyDictionary()


class Misfits(NamedTuple):
    """Names that one side has and the other lacks."""

    missing: List[str]
    """Tensors of the module that the level lacks: they stay as they are."""
    unexpected: List[str]
    """Tensors of the level that the module lacks."""


class Applied:
    """The masks that hold a module's pruned weights at zero, until `remove`."""

    def __init__(self, module: "torch.nn.Module", masks: Mapping[str, "torch.Tensor"], misfits: Misfits) -> None:
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.misfits = misfits
        self._pruned: Dict[str, "torch.Tensor"] = {}
        self._module = weakref.ref(module)
        self._handles: List[Any] = []
        parameters = dict(module.named_parameters(remove_duplicate=False))
        for name, mask in masks.items():
            parameter = parameters[name]
            self._pruned[name] = ~mask.to(parameter.device, torch.bool)
            if parameter.requires_grad:
                self._handles.append(parameter.register_hook(self._gradient_hook(name)))
        # An optimizer that was at work before has momentum where weights are pruned now, and one that is made later
        # may add what it likes to a zero gradient: both are put right after each of its steps.
        own = weakref.ref(self)

        def after_step(optimizer: "torch.optim.Optimizer", *_: Any) -> None:
            if (applied := own()) is not None:
                applied._after_step(optimizer)

        self._handles.append(register_optimizer_step_post_hook(after_step))
        # They last as long as the module, whether or not anybody keeps this object.
        self._finalizer = weakref.finalize(module, _remove, self._handles)
        self._finalizer.atexit = False
        APPLIED[module] = self
        self.enforce()

    @property
    def masks(self) -> Dict[str, "torch.Tensor"]:
        """The masks: booleans by parameter, true is kept."""
        return {name: ~pruned for name, pruned in self._pruned.items()}

    @property
    def density(self) -> float:
        """Survivors over prunable weights."""
        weights: int = sum(pruned.numel() for pruned in self._pruned.values())
        return sum(int((~pruned).sum()) for pruned in self._pruned.values()) / weights

    def enforce(self) -> None:
        """Sets pruned weights to zero, after somebody else wrote into them: `load_state_dict`, for instance."""
        import torch

        with torch.no_grad():
            for name, parameter in self._parameters().items():
                parameter.masked_fill_(self._pruned_at(name, parameter), 0)

    def remove(self) -> None:
        """Takes the hooks away: from now on pruned weights train like all others."""
        self._finalizer.detach()
        _remove(self._handles)
        module = self._module()
        if module is not None and APPLIED.get(module) is self:
            del APPLIED[module]

    def _parameters(self) -> Dict[str, "torch.nn.Parameter"]:
        module = self._module()
        if module is None:
            return {}
        named = dict(module.named_parameters(remove_duplicate=False))
        return {name: named[name] for name in self._pruned if name in named}

    def _pruned_at(self, name: str, like: "torch.Tensor") -> "torch.Tensor":
        # The module may have moved to another device since.
        if self._pruned[name].device != like.device:
            self._pruned[name] = self._pruned[name].to(like.device)
        return self._pruned[name]

    def _gradient_hook(self, name: str) -> Any:
        from torch.utils.hooks import unserializable_hook

        own = weakref.ref(self)

        def hook(gradient: "torch.Tensor") -> Optional["torch.Tensor"]:
            applied = own()
            # Filled, not multiplied: 0 times infinity is no zero.
            return None if applied is None else gradient.masked_fill(applied._pruned_at(name, gradient), 0)

        # A module that is saved whole is saved without it, which is no cause for a warning.
        return unserializable_hook(hook)

    def _after_step(self, optimizer: "torch.optim.Optimizer") -> None:
        import torch

        its = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        with torch.no_grad():
            for name, parameter in self._parameters().items():
                if id(parameter) not in its:
                    continue
                pruned = self._pruned_at(name, parameter)
                parameter.masked_fill_(pruned, 0)
                for state in optimizer.state.get(parameter, {}).values():
                    if isinstance(state, torch.Tensor) and state.shape == parameter.shape:
                        state.masked_fill_(pruned.to(state.device), 0)


def _remove(handles: List[Any]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()


def apply(
    module: "torch.nn.Module",
    run: Union[AnyPath, Run],
    level: int = -1,
    seed: Optional[int] = None,
    *,
    at: str = "end",
    strict: bool = True,
) -> Applied:
    """Puts a level's weights and masks into a module whose tensors have the names and shapes of the run's.

    The weights are those `at` the level's "end", or at its "start", after rewinding. From then on pruned weights stay
    exactly zero, and so does what an optimizer keeps of them: gradients are masked as they arise, weights and
    optimizer state after each step of whatever `torch.optim` optimizer holds the parameters, made before or after.
    Parameters keep their names and stay parameters; `state_dict` is that of the module.

    With `strict` every tensor of the level must have its counterpart, and so must every parameter and running statistic
    of the module; without, what fits is taken. Either way `misfits` of the result names the rest. Shapes must be the
    same in either case. What does not fit raises `Misfit`, and the module is as it was. Applying a second level
    replaces the first.
    """
    import torch

    found = run if isinstance(run, Run) else load(run)
    if not isinstance(found, Run):
        raise TypeError(f"{found!r} is a sweep: name one of its runs, such as sweep[{found.cells[0].full_name!r}]")
    one = found.level(level, seed)
    weights = one.weights(at, "torch")
    masks = one.mask("torch") if at == "end" else one.start_mask("torch")
    own = module.state_dict(keep_vars=True)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    # A tensor with two names is in the level under one of them.
    given = {id(own[name]) for name in weights if name in own}
    misfits = Misfits(
        missing=[name for name in own if id(own[name]) not in given],
        unexpected=[name for name in weights if name not in own],
    )
    problems = _shapes(weights, own)
    problems += [
        f"`{name}` is masked, but no parameter here" for name in masks if name in own and name not in parameters
    ]
    if strict:
        counted = [name for name in misfits.missing if name in parameters or name.endswith(TRAINED_BUFFERS)]
        problems += [f"the level lacks `{name}`" for name in counted]
        problems += [f"the module lacks `{name}`" for name in misfits.unexpected]
    fitting = {name: mask for name, mask in masks.items() if name in parameters}
    if not fitting and not problems:
        problems.append(f"the module has none of {', '.join(masks)}, which are what is pruned")
    if problems:
        what = type(module).__name__
        hint = "" if not strict or _shapes(weights, own) else "; strict=False takes what fits"
        raise Misfit(f"{one.path} does not fit {what}: {'; '.join(problems)}{hint}")
    if (before := APPLIED.get(module)) is not None:
        before.remove()
    with torch.no_grad():
        for name, tensor in weights.items():
            if name in own:
                own[name].copy_(tensor)
    return Applied(module, fitting, misfits)


def _shapes(weights: Mapping[str, "torch.Tensor"], own: Mapping[str, "torch.Tensor"]) -> List[str]:
    both = [(name, tensor.shape, own[name].shape) for name, tensor in weights.items() if name in own]
    return [f"`{name}` has shape {[*got]} in the level and {[*want]} here" for name, got, want in both if got != want]
