//! What a component says against experiments.

use plugin_api::Experiment;
use serde_json::Value;

use super::{Trial, options};
use crate::cases::NETWORKS;
use crate::report::{Failure, Verdict};
use crate::subject::Fault;

/// Steps of an epoch and epochs of a level: ordinary, one step alone, and more than any run has.
const LENGTHS: [(u64, u64); 3] = [(20, 6), (1, 1), (1_000_000, 1_000_000)];

/// Densities of the levels after the dense one: none, falling, the same, down to nothing at all.
const LEVELS: [&[f64]; 4] = [&[], &[0.8, 0.5, 0.25, 0.1], &[0.5, 0.5, 0.5], &[0.3, 1e-9]];

/// Findings name options that there are, say something, and come again.
pub fn review(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let schema = &trial.component.schema;
    let known: Vec<&String> = options::properties(trial.component)
        .map(|(name, _)| name)
        .collect();
    let open = schema
        .get("additionalProperties")
        .is_some_and(|it| *it != Value::Bool(false));
    let (mut asked, mut findings) = (0, 0);
    for network in NETWORKS {
        for ((steps, epochs), densities) in LENGTHS.iter().flat_map(|it| LEVELS.map(|x| (*it, x))) {
            let experiment =
                Experiment::new(network.layers(), steps, epochs, densities.iter().copied());
            let case = format!(
                "{}, {epochs} epochs of {steps} steps, densities {densities:?}",
                network.name
            );
            let broken = |got: String, expected: &str| {
                let expected = expected.to_owned();
                let failures = vec![Failure {
                    case: case.clone(),
                    got,
                    expected,
                }];
                Ok(Verdict::Broken { failures })
            };
            let mut component = trial.make()?;
            let found = match component.review(&experiment) {
                Ok(found) => found,
                Err(fault) => return broken(fault.text().to_owned(), "findings, or none"),
            };
            for finding in &found {
                let option = finding.option.split('.').next().unwrap_or_default();
                let is_known = option.is_empty() || open || known.iter().any(|it| *it == option);
                if !is_known {
                    let got = format!("a finding at the option `{}`", finding.option);
                    return broken(got, "an option that it has");
                }
                if finding.message.trim().is_empty() {
                    return broken(format!("{finding:?}"), "a finding with a message");
                }
            }
            if trial.make()?.review(&experiment)? != found {
                return broken("other findings, the second time".to_owned(), "the same");
            }
            asked += 1;
            findings += found.len();
        }
    }
    Ok(Verdict::Kept {
        note: Some(format!("{findings} findings in {asked} experiments")),
    })
}
