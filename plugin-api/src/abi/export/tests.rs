use std::cell::Cell;
use std::ffi::c_void;

use abi_stable::std_types::{RResult, RSlice, RVec};
use abi_stable::type_level::downcasting::TD_CanDowncast;
use serde::Deserialize;

use super::*;
use crate::abi::{DType, Op, RawSlice, TensorInfo, TensorObject};
use crate::{BatchNorm, Measure, OptimizerState, Point, Scope, Script, Step};
use schemars::JsonSchema;

fn error<T>(result: AbiResult<T>) -> (ErrorCode, String) {
    match result {
        RResult::ROk(_) => panic!("there was no error"),
        RResult::RErr(error) => (error.code, error.message.into()),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Limited {
    /// At most 1.
    power: f64,
}

impl Default for Limited {
    fn default() -> Self {
        Self { power: 0.5 }
    }
}

fn limited(options: &str) -> Result<Limited> {
    configure(options.into(), |component: &Limited| {
        if component.power > 1.0 {
            return Err(Error::new("power is above 1"));
        }
        Ok(())
    })
}

#[test]
fn options_that_are_not_given_have_their_defaults() {
    assert_eq!(limited("{}").unwrap().power, 0.5);
    assert_eq!(limited(r#"{"power": 0.25}"#).unwrap().power, 0.25);
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    for (options, fragment) in [
        (r#"{"pwer": 1.0}"#, "`pwer`, expected `power`"),
        (r#"{"power": "much"}"#, "\"much\""),
        (r#"{"power": 1.5}"#, "power is above 1"),
    ] {
        let (code, message) = error(guard(|| limited(options)));
        assert_eq!(code, ErrorCode::BAD_OPTIONS);
        assert!(message.contains(fragment), "{message}");
    }
}

#[test]
fn a_components_schema_carries_its_docs_and_defaults() {
    let manifest = describe_component::<Limited>(ComponentKind::Score, "limited");
    let power = &manifest.schema["properties"]["power"];
    assert_eq!(power["description"], "At most 1.");
    assert_eq!(power["default"], 0.5);
    assert_eq!(manifest.schema["additionalProperties"], false);
}

/// Notes the panics of this thread as a plugin does, and leaves those of other tests alone.
fn note_own_panics() {
    let own = std::thread::current().id();
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == own {
            note(info);
        } else {
            previous(info);
        }
    }));
}

#[test]
fn a_panic_becomes_an_error_with_its_text_and_place() {
    note_own_panics();
    let (code, message) = error(guard::<()>(|| panic!("layer {} is odd", 3)));
    assert_eq!(code, ErrorCode::PANICKED);
    let line = line!() - 2;
    let file = file!();
    let start = format!("panicked: layer 3 is odd at {file}:{line}:");
    assert!(message.starts_with(&start), "{message}");
}

#[test]
fn a_panic_with_any_payload_becomes_an_error() {
    note_own_panics();
    let (code, message) = error(guard::<()>(|| panic::panic_any(7_u64)));
    assert_eq!(code, ErrorCode::PANICKED);
    assert!(message.contains("without a text"), "{message}");

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a payload that panics when dropped");
        }
    }
    let (code, _) = error(guard::<()>(|| panic::panic_any(Bomb)));
    assert_eq!(code, ErrorCode::PANICKED);
}

#[test]
fn a_panic_that_the_component_caught_is_not_reported_later() {
    note_own_panics();
    let first = guard(|| {
        let caught = panic::catch_unwind(|| panic!("long ago"));
        Ok(caught.is_err())
    });
    assert_eq!(first.into_result().ok(), Some(true));
    // No hook runs for a resumed panic, so there is no new note.
    let (_, message) = error(guard::<()>(|| panic::resume_unwind(Box::new("now"))));
    assert_eq!(message, "panicked: now");
}

#[test]
fn an_error_keeps_its_code() {
    let (code, message) = error(guard::<()>(|| Err(Error::new("no data"))));
    assert_eq!((code, message.as_str()), (ErrorCode::FAILED, "no data"));
    let unsupported = AbiError {
        code: ErrorCode::UNSUPPORTED,
        message: "unknown operation".into(),
    };
    let (code, _) = error(guard::<()>(|| crate::tensor::refuse(unsupported.into())));
    assert_eq!(code, ErrorCode::UNSUPPORTED);
}

#[test]
fn a_component_that_panics_when_dropped_does_not_unwind_into_the_host() {
    thread_local!(static DROPPED: Cell<u32> = const { Cell::new(0) });
    struct Fragile;
    impl Drop for Fragile {
        fn drop(&mut self) {
            DROPPED.set(DROPPED.get() + 1);
            panic!("in Drop");
        }
    }
    note_own_panics();
    drop(Shell::new(Fragile));
    assert_eq!(DROPPED.get(), 1);
}

/// A tensor that only knows its number.
#[derive(Clone)]
struct Numbered(u32);

impl TensorObject for Numbered {
    fn apply(
        &self,
        op: Op,
        _operands: RSlice<'_, TensorBox>,
        _ints: RSlice<'_, i64>,
        _floats: RSlice<'_, f64>,
    ) -> AbiResult<TensorBox> {
        RResult::RErr(AbiError {
            code: ErrorCode::UNSUPPORTED,
            message: format!("no operation {}", op.0).into(),
        })
    }

    fn info(&self) -> TensorInfo {
        TensorInfo {
            shape: vec![1].into(),
            dtype: DType::F32,
            on_cpu: true,
        }
    }

    fn view(&self) -> RawSlice {
        RawSlice {
            start: std::ptr::null(),
            len: 0,
        }
    }

    fn read(&self) -> AbiResult<RVec<f64>> {
        RResult::ROk(vec![f64::from(self.0)].into())
    }

    fn read_f32(&self) -> AbiResult<RVec<f32>> {
        RResult::ROk(vec![self.0 as f32].into())
    }

    fn dlpack(&self) -> AbiResult<*mut c_void> {
        RResult::ROk(std::ptr::null_mut())
    }

    fn call(&self, code: u32, _payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>> {
        call(
            code,
            &[],
            |_| Vec::new(),
            || None,
            None::<fn() -> Option<UnitRule>>,
        )
    }
}

fn numbered(number: u32) -> Tensor {
    tensor(TensorBox::from_value(Numbered(number), TD_CanDowncast))
}

fn numbers(tensors: &[TensorBox]) -> Vec<u32> {
    tensors
        .iter()
        .map(|handle| handle.obj.downcast_as::<Numbered>().unwrap().0)
        .collect()
}

#[test]
fn a_plans_tensors_travel_beside_it_weights_first() {
    let plan = RewindPlan {
        weights: Weights::Tensors(vec![numbered(0), numbered(1)]),
        redefine: vec![
            (Point::Init, vec![numbered(2), numbered(3)]),
            (Point::Step(Step::Epochs(4)), vec![numbered(4), numbered(5)]),
        ],
        ..RewindPlan::default()
    };
    let reply = reply(plan).unwrap();
    assert_eq!(numbers(&reply.tensors), [0, 1, 2, 3, 4, 5]);
    let read: Plan = serde_json::from_str(&reply.plan).unwrap();
    assert!(matches!(read.weights, PlanWeights::Tensors));
    assert_eq!(read.redefine, [Point::Init, Point::Step(Step::Epochs(4))]);
}

#[test]
fn a_plan_says_the_same_on_the_other_side() {
    let point = Point::LevelEnd(2);
    let reply = reply(RewindPlan::to_point(point.clone())).unwrap();
    assert!(reply.tensors.is_empty());
    let read: Plan = serde_json::from_str(&reply.plan).unwrap();
    assert!(matches!(&read.weights, PlanWeights::From(from) if *from == point));
    let expected = BatchNorm {
        affine: Source::From(point.clone()),
        statistics: Source::From(point),
    };
    assert_eq!(read.batch_norm, expected);
    assert_eq!(read.optimizer, OptimizerState::Clear);
    assert!(read.redefine.is_empty());
}

#[test]
fn mixed_weights_keep_what_has_no_point() {
    let plan = RewindPlan {
        weights: Weights::Mixed {
            magnitudes: Source::From(Point::Init),
            signs: Source::Keep,
        },
        ..RewindPlan::default()
    };
    let read: Plan = serde_json::from_str(&reply(plan).unwrap().plan).unwrap();
    let PlanWeights::Mixed { magnitudes, signs } = read.weights else {
        panic!("{:?}", read.weights);
    };
    assert_eq!((magnitudes, signs), (Some(Point::Init), None));
}

#[test]
fn an_operation_that_the_host_lacks_is_unsupported_not_a_failure() {
    let error = numbered(0).try_apply(Op(9_999), &[], &[], &[]).unwrap_err();
    assert!(error.is_unsupported());
    assert_eq!(error.to_string(), "no operation 9999");
    assert!(!Error::new("no operation 9999").is_unsupported());
}

#[test]
fn an_operation_that_is_refused_ends_the_call_with_the_hosts_message() {
    let (code, message) = error_of_abs(&numbered(0));
    assert_eq!(code, ErrorCode::UNSUPPORTED);
    assert_eq!(message, format!("no operation {}", Op::ABS.0));
}

fn error_of_abs(tensor: &Tensor) -> (ErrorCode, String) {
    error(guard(|| Ok(tensor.abs())))
}

#[test]
fn item_wants_exactly_one_element() {
    assert_eq!(numbered(7).item(), 7.0);
}

#[test]
fn a_stateless_component_refuses_a_stored_state() {
    #[derive(Default, Deserialize, JsonSchema)]
    struct Stateless {}
    impl Rewind for Stateless {
        fn rewind(&mut self, _: &mut RewindContext<'_>) -> Result<RewindPlan> {
            Ok(RewindPlan::default())
        }
    }
    let mut shell = Shell::new(Stateless {});
    let saved = RewindObject::save_state(&shell).into_result().ok().unwrap();
    assert!(RewindObject::load_state(&mut shell, saved.as_slice().into()).is_ok());
    let (_, message) = error(RewindObject::load_state(
        &mut shell,
        [1, 2].as_slice().into(),
    ));
    assert_eq!(
        message,
        "a stored state of 2 bytes was given to a component that stores none"
    );
}

#[derive(Default, Deserialize, JsonSchema)]
struct Objects {}

impl Rewind for Objects {
    fn rewind(&mut self, _: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan::default())
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        assert!(experiment.epochs > 0, "no epoch");
        vec![Finding::pointless("nothing is rewound").at_option("from")]
    }
}

#[derive(Default, Deserialize, JsonSchema)]
struct Agrees {}

impl Rewind for Agrees {
    fn rewind(&mut self, _: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan::default())
    }
}

fn reviewed<T: Rewind>(epochs: u64) -> AbiResult<RVec<u8>> {
    let mut component = rewind::<T>("{}".into()).unwrap();
    let experiment = Experiment::new(Vec::new(), 10, epochs, [0.5]);
    let payload = serde_json::to_vec(&experiment).unwrap();
    component.call(REVIEW, RSlice::from_slice(&payload))
}

#[test]
fn a_component_is_asked_about_an_experiment_and_has_nothing_against_it_by_default() {
    let findings = |answer: AbiResult<RVec<u8>>| -> Vec<Finding> {
        serde_json::from_slice(&answer.unwrap()).unwrap()
    };
    assert_eq!(findings(reviewed::<Agrees>(1)), []);
    let said = findings(reviewed::<Objects>(1));
    assert_eq!(said[0].option, "from");
}

#[test]
fn a_panic_about_an_experiment_and_a_code_of_a_later_host_are_errors() {
    let (code, message) = error(reviewed::<Objects>(0));
    assert_eq!(code, ErrorCode::PANICKED);
    assert!(message.starts_with("panicked: no epoch"), "{message}");
    let mut component = rewind::<Agrees>("{}".into()).unwrap();
    let (code, _) = error(component.call(9_999, RSlice::EMPTY));
    assert_eq!(code, ErrorCode::UNSUPPORTED);
}

#[derive(Default, Deserialize, JsonSchema)]
struct OfAFile {
    file: Script,
}

impl Rewind for OfAFile {
    fn validate(&self) -> Result<()> {
        match self.file.source.as_deref() {
            Some("") => Err(Error::missing("nothing is in the file")),
            _ => Ok(()),
        }
    }

    fn options(&self) -> Option<schemars::Schema> {
        Some(schemars::json_schema!({ "description": self.file.source.clone() }))
    }

    fn rewind(&mut self, _: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan::default())
    }
}

#[test]
fn a_component_says_which_options_follow_from_its_file_and_others_have_those_of_their_type() {
    let asked = |mut component: crate::abi::RewindBox| -> serde_json::Value {
        let answer = component.call(OPTIONS, RSlice::EMPTY).unwrap();
        serde_json::from_slice(&answer).unwrap()
    };
    let file = r#"{"file": {"path": "x.py", "source": "text"}}"#;
    let said = asked(rewind::<OfAFile>(file.into()).unwrap());
    assert_eq!(said["description"], "text");
    assert!(asked(rewind::<Agrees>("{}".into()).unwrap()).is_null());
    let empty = r#"{"file": {"path": "x.py", "source": ""}}"#;
    let refused = rewind::<OfAFile>(empty.into()).err().unwrap();
    assert!(refused.is_missing(), "{refused}");
}

#[derive(Default, Deserialize, JsonSchema)]
struct Whole {}

impl MaskUpdate for Whole {
    fn unit_rule(&self) -> Option<UnitRule> {
        Some(UnitRule {
            measure: Measure::Macs,
            scope: Scope::Layer,
            multiple: 16,
        })
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        ctx.masks()
    }
}

#[derive(Default, Deserialize, JsonSchema)]
struct Single {}

impl MaskUpdate for Single {
    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        ctx.masks()
    }
}

#[test]
fn a_mask_update_is_asked_by_which_rule_it_keeps_whole_units_and_no_other_component_is() {
    fn asked<T: MaskUpdate>() -> Option<UnitRule> {
        let mut component = mask_update::<T>("{}".into()).unwrap();
        let answer = component.call(UNIT_RULE, RSlice::EMPTY);
        serde_json::from_slice(&answer.unwrap()).unwrap()
    }
    assert_eq!(asked::<Whole>().unwrap().multiple, 16);
    assert_eq!(asked::<Single>(), None);
    let mut policy = rewind::<Agrees>("{}".into()).unwrap();
    let (code, _) = error(policy.call(UNIT_RULE, RSlice::EMPTY));
    assert_eq!(code, ErrorCode::UNSUPPORTED);
}
