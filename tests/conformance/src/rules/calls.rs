//! What calls give, and whether they give it again.

use plugin_api::abi::wire::ComponentKind;

use super::{Trial, is_there};
use crate::cases::{NETWORKS, Values};
use crate::report::{Failure, Verdict};
use crate::subject::{Answer, Fault};
use crate::walk::Course;

/// Cases that are shown of a broken rule.
const SHOWN: usize = 3;

pub fn cadence(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    if !trial.is(ComponentKind::Mask) {
        return Ok(Verdict::KEPT);
    }
    let cadence = trial.make()?.cadence()?.unwrap_or_default();
    let within = cadence.within_level.as_ref();
    // A level as long as any.
    let within = within.is_some_and(|interval| interval.last_call(1000, 1_000_000).is_some());
    let is_called = within || cadence.between_levels || cadence.rounds_before_training > 0;
    Ok(match is_called {
        true => Verdict::KEPT,
        false => Verdict::broken(
            "the default options",
            format!("{cadence:?}"),
            "a call before training, between levels or within one",
        ),
    })
}

pub fn answers(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let declared = trial.make()?.points()?;
    let (mut answered, mut refused, mut refusal) = (0u64, 0u64, None);
    // Courses whose first call it answered.
    let mut begun = 0;
    let mut failures = Vec::new();
    let courses = trial.courses();
    for course in &courses {
        let mut component = trial.make()?;
        let cadence = component.cadence()?;
        let mut walk = trial.walk(course, cadence.as_ref(), trial.seed);
        let before = answered;
        while let Some(answer) = walk.next(component.as_mut()) {
            let broken = |got: String, expected: &str| Failure {
                case: format!("{}: {}", course.describe(), walk.place()),
                got,
                expected: expected.to_owned(),
            };
            match answer {
                Ok(Answer::Plan { points, .. }) => {
                    answered += 1;
                    if let Some(point) = points.iter().find(|point| !is_there(point, &declared)) {
                        let got = format!("a plan that goes back to `{point}`");
                        failures.push(broken(got, "a point that points() names"));
                        break;
                    }
                }
                Ok(Answer::Tensors(_)) => answered += 1,
                Err(Fault::Refused(text)) => {
                    refused += 1;
                    refusal.get_or_insert(text);
                    break;
                }
                Err(Fault::Broke(text)) => {
                    failures.push(broken(text, "an answer that keeps the host's rules"));
                    break;
                }
            }
        }
        begun += usize::from(answered > before);
        if failures.len() == SHOWN {
            break;
        }
    }
    let refusal = refusal.unwrap_or_default();
    if failures.is_empty() && begun < courses.len() / 4 {
        let all = courses.len();
        return Ok(Verdict::broken(
            "all networks and weights",
            format!(
                "refused {} of {all} from the start; the first time: {refusal}",
                all - begun
            ),
            "an answer to a quarter of them at least",
        ));
    }
    if !failures.is_empty() {
        return Ok(Verdict::Broken { failures });
    }
    let more = match refused {
        0 => String::new(),
        _ => format!(", {refused} courses cut short by its own refusal: {refusal}"),
    };
    Ok(Verdict::Kept {
        note: Some(format!("{answered} calls{more}")),
    })
}

/// All answers of a new instance on a course, with its final state.
fn whole(trial: &Trial<'_>, course: &Course, seed: u64) -> Result<Vec<Answer>, Fault> {
    let mut component = trial.make()?;
    let cadence = component.cadence()?;
    let mut walk = trial.walk(course, cadence.as_ref(), seed);
    let mut answers = Vec::new();
    // What it breaks or refuses is for another rule.
    while let Some(Ok(answer)) = walk.next(component.as_mut()) {
        answers.push(answer);
    }
    Ok(answers)
}

/// The first call whose answers differ, if any.
fn difference(one: &[Answer], other: &[Answer]) -> Option<String> {
    if one.len() != other.len() {
        return Some(format!("{} and {} answers", one.len(), other.len()));
    }
    for (call, (one, other)) in one.iter().zip(other).enumerate() {
        let ((a, a_text), (b, b_text)) = (one.bits(), other.bits());
        if a_text != b_text {
            return Some(format!("call {}: {a_text} and {b_text}", call + 1));
        }
        if let Some(index) = (0..a.len().max(b.len())).find(|&i| a.get(i) != b.get(i)) {
            let number = |bits: &[u32]| bits.get(index).map_or(f32::NAN, |it| f32::from_bits(*it));
            return Some(format!(
                "call {}, number {index}: {} and {}",
                call + 1,
                number(&a),
                number(&b)
            ));
        }
    }
    None
}

pub fn repeats(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    for course in trial.courses() {
        let (one, other) = (
            whole(trial, &course, trial.seed)?,
            whole(trial, &course, trial.seed)?,
        );
        if let Some(got) = difference(&one, &other) {
            return Ok(Verdict::broken(
                course.describe(),
                got,
                "the same twice: random numbers come from the context, and nothing is kept in statics",
            ));
        }
    }
    Ok(Verdict::KEPT)
}

pub fn streams(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    // All weights and scores are equal, whatever the seed: what differs is drawn.
    let course = Course::of(&NETWORKS[1], Values::Equal).swap_remove(0);
    let of = |seed: u64| whole(trial, &course, seed);
    let first = of(trial.seed)?;
    let differing = (1..=4).filter_map(|more| {
        let other = of(trial.seed.wrapping_add(more));
        other
            .map(|other| difference(&first, &other).is_some().then_some(more))
            .transpose()
    });
    let differing: Vec<u64> = differing.collect::<Result<_, Fault>>()?;
    Ok(match differing.len() {
        0 => Verdict::Kept {
            note: Some("the same for every seed".to_owned()),
        },
        4 => Verdict::Kept {
            note: Some("another for every seed".to_owned()),
        },
        _ => Verdict::broken(
            format!(
                "{}, seeds {} to {}",
                course.describe(),
                trial.seed,
                trial.seed + 4
            ),
            format!(
                "only {} of 4 other seeds give something else",
                differing.len()
            ),
            "all of them or none",
        ),
    })
}
