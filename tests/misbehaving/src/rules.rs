//! What the host must say about each component. Tests include this file.

/// One broken rule.
pub struct Rule {
    /// `score`, `mask`, `rewind` or `update`.
    pub kind: &'static str,
    /// The component that breaks it.
    pub component: &'static str,
    /// When it does.
    pub when: When,
    /// What the host's message must contain, whatever the network's layers.
    pub says: &'static str,
}

/// When a component breaks its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When it is made.
    Made,
    /// When it is called.
    Called,
    /// When it is asked for its points.
    Asked,
    /// When another instance was called before.
    CalledAfterAnother,
    /// When it is called at a level that starts with pruned weights; before, it does nothing wrong.
    CalledOnceSomeArePruned,
    /// When it is called a second time, which the level loop notices.
    CalledTwice,
    /// When another instance goes on in its place, which the rules notice.
    Hidden,
    /// Never alone: two of it are one too many.
    Beside,
    /// When the level loop carries out its plan; the plan itself is well-formed.
    CarriedOut,
    /// When its state is saved.
    Saved,
    /// When its state is loaded.
    Loaded,
    /// When it is called at level 1, where the environment variable `MISBEHAVE` names it: it ends the
    /// process, or has to be ended with it.
    EndsTheProcess,
    /// When it is asked about an experiment.
    Reviewed,
    /// When its findings are looked at: the host shows them at the component and goes by them.
    Found,
    /// When it is dropped. Nobody is left to tell: the host must simply go on.
    Dropped,
}

const fn rule(kind: &'static str, component: &'static str, when: When, says: &'static str) -> Rule {
    Rule {
        kind,
        component,
        when,
        says,
    }
}

/// Every rule, in the order of the components in `lib.rs`.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule("score", "panics", When::Called, "panicked: no score today at "),
    rule("score", "panics-in-constructor", When::Made, "panicked: no options today at "),
    rule("score", "panics-in-drop", When::Dropped, ""),
    rule("score", "panics-in-save-state", When::Saved, "panicked: no state today at "),
    rule("score", "refuses-its-state", When::Loaded, "failed: the state of 3 bytes is not mine"),
    rule("score", "bad-options", When::Made, "refused its options: these options contradict each other"),
    rule("score", "error", When::Called, "failed: the scores are missing"),
    rule("score", "wrong-count", When::Called, "one for each prunable layer"),
    rule("score", "wrong-shape", When::Called, "gave a wrong score for layer"),
    rule("score", "wrong-dtype-f64", When::Called, "got Double"),
    rule("score", "wrong-dtype-i64", When::Called, "got Int64"),
    rule("score", "nan", When::Called, "whose element 1 is NaN; expected finite numbers"),
    rule("score", "infinite", When::Called, "whose element 1 is inf; expected finite numbers"),
    rule("score", "own-handle", When::Called, "gave back score 0 that is not a tensor of this host"),
    rule("score", "own-operand", When::Called, "failed: MUL: operand 1 is not a tensor of this host"),
    rule("score", "shapes-that-do-not-fit", When::Called, "failed: MATMUL: "),
    rule("score", "unknown-codes", When::Called, "unsupported: operation true, service true"),
    rule("score", "panics-in-points", When::Asked, "panicked: no points today at "),
    rule("score", "panics-in-load-state", When::Loaded, "panicked: no memory today at "),
    rule("score", "changes-its-inputs", When::Called, "changed the weights that it was lent, of layer "),
    rule("score", "keeps-a-tensor", When::CalledAfterAnother, "gave back score 0 that is a tensor that was lent to another component or seed"),
    rule("score", "aborts", When::EndsTheProcess, "ended the process: SIGABRT"),
    rule("score", "exits", When::EndsTheProcess, "ended the process by exit"),
    rule("score", "reads-nowhere", When::EndsTheProcess, "ended the process: SIGSEGV"),
    rule("score", "overflows-its-stack", When::EndsTheProcess, "ended the process: SIGSEGV"),
    rule("score", "never-returns", When::EndsTheProcess, "did not return within "),
    rule("score", "allocates-without-end", When::EndsTheProcess, "allocated more than "),
    rule("mask", "panics", When::Called, "panicked: no mask today at "),
    rule("mask", "panics-in-cadence", When::Made, "panicked: no time today at "),
    rule("mask", "half", When::Called, "whose element 0 is 0.5; expected 0 or 1"),
    rule("mask", "grows", When::CalledOnceSomeArePruned, "that grows 1 pruned weights"),
    rule("mask", "one-too-many", When::Called, "expected exactly "),
    rule("mask", "one-too-few", When::Called, "expected exactly "),
    rule("mask", "parts-of-units", When::Called, "that do not keep its rule of whole units"),
    rule("mask", "wrong-shape", When::Called, "gave a wrong mask for layer"),
    rule("mask", "wrong-count", When::Called, "one for each prunable layer"),
    rule("mask", "selects-by-nan", When::Called, "is NaN; expected a number for every weight"),
    rule("mask", "selects-too-many", When::Called, "weights are to be chosen, but there are only"),
    rule("rewind", "panics", When::Called, "panicked: no plan today at "),
    rule("rewind", "wrong-count", When::Called, "one for each prunable layer"),
    rule("rewind", "wrong-shape", When::Called, "gave a wrong weight for layer"),
    rule("rewind", "nan-weights", When::Called, "whose element 1 is NaN; expected finite numbers"),
    rule("rewind", "reads-unknown-point", When::Called, "7it"),
    rule("rewind", "unknown-point", When::CarriedOut, "7it"),
    rule("rewind", "panics-in-review", When::Reviewed, "panicked: no opinion today at "),
    rule("rewind", "finds-at-no-option", When::Found, "a finding at the option `no.such.option`"),
    rule("update", "panics", When::Called, "panicked: no step today at "),
    rule("update", "wrong-count", When::Called, "one for each prunable layer"),
    rule("update", "wrong-shape", When::Called, "gave a wrong weight for layer"),
    rule("update", "nan", When::Called, "whose element 1 is NaN; expected finite numbers"),
    rule("update", "grows", When::CalledOnceSomeArePruned, "although the weight is pruned; expected 0"),
    rule("update", "leaves-state", When::CalledOnceSomeArePruned, "gave a state for layer"),
    rule("update", "unknown-state", When::Called, "failed: it gives a state `right` that it does not name"),
    rule("update", "reads-and-is-pure", When::Called, "says that it is pure and reads elements of a tensor"),
    rule("update", "draws-and-is-pure", When::Called, "says that it is pure and draws random numbers"),
    rule("update", "counts-and-is-pure", When::CalledTwice, "says that it is pure and does other operations at "),
    rule("update", "hides-state", When::Hidden, "other numbers than the instance that was not stopped"),
    rule("update", "bad-name", When::Made, "failed: it names a state `left/right`, expected letters, digits"),
    rule("update", "still", When::Beside, "takes the optimizer's place, as `"),
];
