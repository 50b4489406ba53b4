//! What [`export_plugin!`](crate::export_plugin) expands to: safe components behind the boundary's traits.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Mutex;

use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

pub use abi_stable::library::{
    __call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult,
};
pub use abi_stable::prefix_type::PrefixTypeTrait;
pub use abi_stable::std_types;
use abi_stable::type_level::downcasting::TD_Opaque;

use super::wire::{ComponentKind, ComponentManifest, Plan, PlanWeights};
use super::{
    AbiError, AbiResult, ErrorCode, HostRef, OPTIONS, REVIEW, RewindReply, TAKE_DROP_PANIC,
    TensorBox, UNIT_RULE,
};
use super::{MaskUpdateObject, RewindObject, ScorerObject, UpdateObject};
use crate::context::{MaskContext, RewindContext, ScoreContext, UpdateContext};
use crate::error::{Error, Result};
use crate::tensor::Refused;
use crate::{
    Experiment, Finding, MaskUpdate, Options, Parameters, Rewind, RewindPlan, Scorer, Source,
    Tensor, UnitRule, Update, UpdateForm, Updated, Weights,
};

thread_local! {
    /// Text and place of the last panic on this thread, which the hook notes and `guard` takes.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Text of the last panic that ended a `Drop`, for [`TAKE_DROP_PANIC`]: nobody was left to tell.
static DROP_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Notes panics instead of printing them: the host's error carries the text. A plugin has its own
/// copy of the standard library, so this changes no other hook.
pub fn note_panics() {
    panic::set_hook(Box::new(note));
}

fn note(info: &PanicHookInfo<'_>) {
    let text = text(info.payload()).unwrap_or("a panic without a text");
    let place = info
        .location()
        .map(|place| format!(" at {place}"))
        .unwrap_or_default();
    LAST_PANIC.set(Some(format!("{text}{place}")));
}

/// Runs a component's code; what it throws becomes an error.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> AbiResult<T> {
    // A panic that the component caught itself, or that ended a `Drop`, is none of this call's.
    LAST_PANIC.take();
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => RResult::ROk(value),
        Ok(Err(error)) => RResult::RErr(error.into_abi()),
        Err(payload) => RResult::RErr(describe(payload)),
    }
}

/// What `panic!` was given.
fn text(payload: &dyn Any) -> Option<&str> {
    let literal = payload.downcast_ref::<&str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

fn describe(payload: Box<dyn Any + Send>) -> AbiError {
    match payload.downcast::<Refused>() {
        Ok(refused) => refused.0.into_abi(),
        Err(payload) => {
            let text = LAST_PANIC
                .take()
                .or_else(|| text(payload.as_ref()).map(str::to_owned))
                .unwrap_or_else(|| "a panic without a text".to_owned());
            // A payload whose own `Drop` panics would abort the host.
            std::mem::forget(payload);
            AbiError {
                code: ErrorCode::PANICKED,
                message: format!("panicked: {text}").into(),
            }
        }
    }
}

/// Answers a numbered call; `review` and `options` are the component's, and so is its `rule` if it is a mask update.
fn call(
    code: u32,
    payload: &[u8],
    review: impl FnOnce(&Experiment) -> Vec<Finding>,
    options: impl FnOnce() -> Option<schemars::Schema>,
    rule: Option<impl FnOnce() -> Option<UnitRule>>,
) -> AbiResult<RVec<u8>> {
    if code == TAKE_DROP_PANIC {
        let mut last = DROP_PANIC.lock().unwrap_or_else(|lock| lock.into_inner());
        return RResult::ROk(last.take().unwrap_or_default().into_bytes().into());
    }
    if code == REVIEW {
        return guard(|| {
            let findings = review(&serde_json::from_slice(payload)?);
            Ok(serde_json::to_vec(&findings)?.into())
        });
    }
    if code == OPTIONS {
        return guard(|| Ok(serde_json::to_vec(&options())?.into()));
    }
    if let (UNIT_RULE, Some(rule)) = (code, rule) {
        return guard(|| Ok(serde_json::to_vec(&rule())?.into()));
    }
    RResult::RErr(AbiError {
        code: ErrorCode::UNSUPPORTED,
        message: format!(
            "this plugin-api {}.{} does not know call {code}",
            super::API_MAJOR,
            super::API_MINOR
        )
        .into(),
    })
}

fn handles(tensors: Vec<Tensor>) -> RVec<TensorBox> {
    tensors.into_iter().map(|tensor| tensor.0).collect()
}

/// A tensor behind any handle, for tests of hosts: hosts refuse handles that they did not make.
pub fn tensor(handle: TensorBox) -> Tensor {
    Tensor(handle)
}

/// The options of a component from their JSON, checked.
///
/// # Errors
/// What does not fit.
pub fn configure<T: Options>(options: RStr<'_>, validate: fn(&T) -> Result<()>) -> Result<T> {
    let component: T = serde_json::from_str(options.as_str()).map_err(bad_options)?;
    validate(&component).map_err(|error| match error.is_missing() {
        true => error,
        false => bad_options(error),
    })?;
    Ok(component)
}

fn bad_options(error: impl std::fmt::Display) -> Error {
    let mut error = Error::new(error.to_string());
    error.code = ErrorCode::BAD_OPTIONS;
    error
}

/// The answer for a component that the plugin does not have.
pub fn no_such(kind: ComponentKind, name: RStr<'_>) -> Error {
    Error::new(format!(
        "the plugin has no {} component `{name}`",
        kind.name()
    ))
}

/// What a manifest says of one component.
pub fn describe_component<T: Options>(kind: ComponentKind, name: &str) -> ComponentManifest {
    ComponentManifest {
        kind,
        name: name.to_owned(),
        schema: schemars::schema_for!(T).to_value(),
    }
}

/// A component behind the boundary. Its `Drop` is guarded too: a panic there must not abort the host.
pub struct Shell<T>(std::mem::ManuallyDrop<T>);

impl<T> Shell<T> {
    /// Wraps a component.
    pub fn new(component: T) -> Self {
        Self(std::mem::ManuallyDrop::new(component))
    }
}

impl<T> Drop for Shell<T> {
    fn drop(&mut self) {
        // SAFETY: the component is dropped here and nowhere else.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| unsafe {
            std::mem::ManuallyDrop::drop(&mut self.0)
        }));
        if let Err(payload) = dropped {
            let error = describe(payload);
            // Poisoned or not, it holds a text.
            let mut last = DROP_PANIC.lock().unwrap_or_else(|lock| lock.into_inner());
            *last = Some(error.message.into());
        }
    }
}

/// The methods that the three traits of 1.0 share.
macro_rules! lifecycle {
    ($rule:expr) => {
        fn points(&self) -> AbiResult<RString> {
            guard(|| Ok(serde_json::to_string(&self.0.points())?.into()))
        }

        fn save_state(&self) -> AbiResult<RVec<u8>> {
            guard(|| Ok(self.0.save_state()?.into()))
        }

        fn load_state(&mut self, state: RSlice<'_, u8>) -> AbiResult<()> {
            guard(|| self.0.load_state(state.as_slice()))
        }

        fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>> {
            let rule: Option<fn(&Self) -> Option<UnitRule>> = $rule;
            let own: &Self = self;
            let rule = rule.map(|rule| move || rule(own));
            call(
                code,
                payload.as_slice(),
                |experiment| own.0.review(experiment),
                || own.0.options(),
                rule,
            )
        }
    };
}

impl<T: Scorer> ScorerObject for Shell<T> {
    fn score(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>> {
        guard(|| Ok(handles(self.0.score(&mut ScoreContext::new(host)?)?)))
    }

    lifecycle!(None);
}

impl<T: MaskUpdate> MaskUpdateObject for Shell<T> {
    fn cadence(&self) -> AbiResult<RString> {
        guard(|| Ok(serde_json::to_string(&self.0.cadence())?.into()))
    }

    fn update(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>> {
        guard(|| Ok(handles(self.0.update(&mut MaskContext::new(host)?)?)))
    }

    lifecycle!(Some(|shell| shell.0.unit_rule()));
}

impl<T: Rewind> RewindObject for Shell<T> {
    fn rewind(&mut self, host: HostRef<'_>) -> AbiResult<RewindReply> {
        guard(|| reply(self.0.rewind(&mut RewindContext::new(host)?)?))
    }

    lifecycle!(None);
}

impl<T: Update> UpdateObject for Shell<T> {
    fn form(&self) -> AbiResult<RString> {
        guard(|| Ok(serde_json::to_string(&form(&*self.0))?.into()))
    }

    fn update(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>> {
        guard(|| {
            let mut ctx = UpdateContext::new(host)?;
            let updated = self.0.update(&mut ctx)?;
            states_behind(updated, &self.0.states(), &mut ctx)
        })
    }

    fn replace(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>> {
        guard(|| {
            let replaced = self.0.replace(&mut UpdateContext::new(host)?)?;
            Ok(both(replaced))
        })
    }

    fn give_back(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>> {
        guard(|| {
            let mut ctx = UpdateContext::new(host)?;
            let around = self.0.around();
            let mut gradients = Parameters::default();
            if around.weights {
                gradients.weights = ctx.gradients()?;
            }
            if around.norms {
                gradients.norms = ctx.norm_gradients()?;
            }
            Ok(both(self.0.give_back(&mut ctx, gradients)?))
        })
    }

    fn points(&self) -> AbiResult<RString> {
        guard(|| Ok(serde_json::to_string(&self.0.points())?.into()))
    }

    fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>> {
        let own: &Self = self;
        call(
            code,
            payload.as_slice(),
            |experiment| own.0.review(experiment),
            || own.0.options(),
            None::<fn() -> Option<UnitRule>>,
        )
    }
}

fn form(update: &impl Update) -> UpdateForm {
    let states = update.states().into_iter();
    UpdateForm {
        acts: update.acts(),
        pure: update.is_pure(),
        states: states.map(str::to_owned).collect(),
        around: update.around(),
    }
}

/// The tensors of an update with those of all its states behind them, in their order.
fn states_behind(
    updated: Updated,
    states: &[&str],
    ctx: &mut UpdateContext<'_>,
) -> Result<RVec<TensorBox>> {
    let mut given = updated.states;
    let mut all = updated.tensors;
    for &state in states {
        match given.iter().position(|(name, _)| name == state) {
            Some(at) => all.extend(given.swap_remove(at).1),
            None => all.extend(ctx.state(state)?),
        }
    }
    match given.first() {
        Some((name, _)) => Err(Error::new(format!(
            "it gives a state `{name}` that it does not name, or gives it twice"
        ))),
        None => Ok(handles(all)),
    }
}

fn both(parameters: Parameters) -> RVec<TensorBox> {
    let mut all = parameters.weights;
    all.extend(parameters.norms);
    handles(all)
}

/// Takes the tensors out of a plan and puts them beside it.
fn reply(plan: RewindPlan) -> Result<RewindReply> {
    let mut beside = Vec::new();
    let weights = match plan.weights {
        Weights::Keep => PlanWeights::Keep,
        Weights::From(point) => PlanWeights::From(point),
        Weights::Mixed { magnitudes, signs } => PlanWeights::Mixed {
            magnitudes: point_of(magnitudes),
            signs: point_of(signs),
        },
        Weights::Tensors(tensors) => {
            beside.extend(tensors);
            PlanWeights::Tensors
        }
    };
    let mut redefine = Vec::new();
    for (point, tensors) in plan.redefine {
        redefine.push(point);
        beside.extend(tensors);
    }
    let plan = Plan {
        weights,
        batch_norm: plan.batch_norm,
        optimizer: plan.optimizer,
        schedule: plan.schedule,
        data_order: plan.data_order,
        redefine,
    };
    Ok(RewindReply {
        plan: serde_json::to_string(&plan)?.into(),
        tensors: handles(beside),
    })
}

fn point_of(source: Source) -> Option<crate::Point> {
    match source {
        Source::Keep => None,
        Source::From(point) => Some(point),
    }
}

/// A manifest as text.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn manifest_text(manifest: &super::wire::Manifest) -> Result<RString> {
    Ok(serde_json::to_string(manifest)?.into())
}

/// A configured scorer.
///
/// # Errors
/// What does not fit in the options.
pub fn scorer<T: Scorer>(options: RStr<'_>) -> Result<super::ScorerBox> {
    let shell = Shell::new(configure(options, T::validate)?);
    Ok(super::ScorerBox::from_value(shell, TD_Opaque))
}

/// A configured mask update.
///
/// # Errors
/// What does not fit in the options.
pub fn mask_update<T: MaskUpdate>(options: RStr<'_>) -> Result<super::MaskUpdateBox> {
    let shell = Shell::new(configure(options, T::validate)?);
    Ok(super::MaskUpdateBox::from_value(shell, TD_Opaque))
}

/// A configured rewind policy.
///
/// # Errors
/// What does not fit in the options.
pub fn rewind<T: Rewind>(options: RStr<'_>) -> Result<super::RewindBox> {
    let shell = Shell::new(configure(options, T::validate)?);
    Ok(super::RewindBox::from_value(shell, TD_Opaque))
}

/// A configured update.
///
/// # Errors
/// What does not fit in the options.
pub fn update<T: Update>(options: RStr<'_>) -> Result<super::UpdateBox> {
    let shell = Shell::new(configure(options, T::validate)?);
    Ok(super::UpdateBox::from_value(shell, TD_Opaque))
}

/// The root module of a plugin's updates, which lives as long as the process.
pub fn updates(update: Constructor<super::UpdateBox>) -> super::UpdateModuleRef {
    super::UpdateModule { update }.leak_into_prefix()
}

type Constructor<T> = extern "C" fn(name: RStr<'_>, options: RStr<'_>) -> AbiResult<T>;

/// The root module, which lives as long as the process.
pub fn module(
    manifest: extern "C" fn() -> AbiResult<RString>,
    scorer: Constructor<super::ScorerBox>,
    mask_update: Constructor<super::MaskUpdateBox>,
    rewind: Constructor<super::RewindBox>,
) -> super::PluginModuleRef {
    super::PluginModule {
        manifest,
        scorer,
        mask_update,
        rewind,
    }
    .leak_into_prefix()
}

#[cfg(test)]
mod tests;
