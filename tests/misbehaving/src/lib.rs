//! A plugin whose every component breaks one rule and is named for it. Whatever it does, the host
//! must go on, and say which component of which plugin did what.
//!
//! [`rules::RULES`] lists each component with what the host must say.

mod ends;
mod masks;
mod own;
mod rewinds;
pub mod rules;
mod scores;
mod updates;

use plugin_api::export_plugin;

export_plugin! {
    score {
        "panics" => scores::Panics,
        "panics-in-constructor" => scores::PanicsInConstructor,
        "panics-in-drop" => scores::PanicsInDrop,
        "panics-in-save-state" => scores::PanicsInSaveState,
        "refuses-its-state" => scores::RefusesItsState,
        "bad-options" => scores::BadOptions,
        "error" => scores::Fails,
        "wrong-count" => scores::WrongCount,
        "wrong-shape" => scores::WrongShape,
        "wrong-dtype-f64" => scores::WrongDtypeF64,
        "wrong-dtype-i64" => scores::WrongDtypeI64,
        "nan" => scores::Nan,
        "infinite" => scores::Infinite,
        "own-handle" => scores::OwnHandle,
        "own-operand" => scores::OwnOperand,
        "shapes-that-do-not-fit" => scores::ShapesThatDoNotFit,
        "unknown-codes" => scores::UnknownCodes,
        "panics-in-points" => scores::PanicsInPoints,
        "panics-in-load-state" => scores::PanicsInLoadState,
        "changes-its-inputs" => scores::ChangesItsInputs,
        "keeps-a-tensor" => scores::KeepsATensor,
        "aborts" => ends::Aborts,
        "exits" => ends::Exits,
        "reads-nowhere" => ends::ReadsNowhere,
        "overflows-its-stack" => ends::OverflowsItsStack,
        "never-returns" => ends::NeverReturns,
        "allocates-without-end" => ends::AllocatesWithoutEnd,
    }
    mask {
        "panics" => masks::Panics,
        "panics-in-cadence" => masks::PanicsInCadence,
        "half" => masks::Half,
        "grows" => masks::Grows,
        "one-too-many" => masks::OneTooMany,
        "one-too-few" => masks::OneTooFew,
        "parts-of-units" => masks::PartsOfUnits,
        "wrong-shape" => masks::WrongShape,
        "wrong-count" => masks::WrongCount,
        "selects-by-nan" => masks::SelectsByNan,
        "selects-too-many" => masks::SelectsTooMany,
    }
    rewind {
        "panics" => rewinds::Panics,
        "wrong-count" => rewinds::WrongCount,
        "wrong-shape" => rewinds::WrongShape,
        "nan-weights" => rewinds::NanWeights,
        "reads-unknown-point" => rewinds::ReadsUnknownPoint,
        "unknown-point" => rewinds::UnknownPoint,
        "panics-in-review" => rewinds::PanicsInReview,
        "finds-at-no-option" => rewinds::FindsAtNoOption,
    }
    update {
        "panics" => updates::Panics,
        "wrong-count" => updates::WrongCount,
        "wrong-shape" => updates::WrongShape,
        "nan" => updates::Nan,
        "grows" => updates::Grows,
        "leaves-state" => updates::LeavesState,
        "unknown-state" => updates::UnknownState,
        "reads-and-is-pure" => updates::ReadsAndIsPure,
        "draws-and-is-pure" => updates::DrawsAndIsPure,
        "counts-and-is-pure" => updates::CountsAndIsPure,
        "hides-state" => updates::HidesState,
        "bad-name" => updates::BadName,
        "still" => updates::Still,
    }
}

/// These tensors with other elements in the first.
fn with_first(
    mut tensors: Vec<plugin_api::Tensor>,
    change: impl FnOnce(&plugin_api::Tensor) -> plugin_api::Tensor,
) -> Vec<plugin_api::Tensor> {
    tensors[0] = change(&tensors[0]);
    tensors
}

/// The first tensor's element 1, or its only one, replaced by this value.
fn with_element(
    ctx: &mut plugin_api::Context<'_>,
    mut tensors: Vec<plugin_api::Tensor>,
    value: f32,
) -> plugin_api::Result<Vec<plugin_api::Tensor>> {
    let mut elements = tensors[0].to_vec();
    let place = 1.min(elements.len() - 1);
    elements[place] = value;
    tensors[0] = ctx.tensor(&elements, &tensors[0].shape())?;
    Ok(tensors)
}
