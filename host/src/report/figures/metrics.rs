//! The metrics that experiments ask for, against density.

use super::{FigureError, Section, against_density, against_density_in};
use crate::records::{METRICS, Summary};
use crate::report::part::Part;

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let mut figures = Vec::new();
    for combination in part.combinations() {
        for (name, pick) in METRICS {
            let finite = |it: &Summary| pick(it).filter(|it| it.is_finite());
            let (title, axis) = words(name);
            let title = format!("{title} against density");
            let kind = format!("test-{}", name.replace('_', "-"));
            figures.extend(match axis {
                None => against_density(part, &combination, &title, &kind, finite)?,
                Some(axis) => {
                    let named = [title.as_str(), kind.as_str(), axis];
                    against_density_in(part, &combination, named, 0.01, finite)?
                }
            });
        }
    }
    Ok(Section {
        title: "Metrics",
        text: "What train.metrics asks for, on the test samples at each level's end: mean over seeds with 95 % \
               Student intervals. Calibration error: the mean distance between confidence and accuracy over 15 \
               bins of one width, weighted by their samples (Guo et al. 2017).",
        figures,
    })
}

/// What a metric is called, and its axis if it is no share.
pub fn words(name: &str) -> (&'static str, Option<&'static str>) {
    match name {
        "top_5_accuracy" => ("Top-5 accuracy", None),
        "nll" => (
            "Negative log-likelihood",
            Some("negative log-likelihood, nats"),
        ),
        "perplexity" => ("Perplexity", Some("perplexity")),
        "ece" => ("Expected calibration error", None),
        "rmse" => ("Root mean squared error", Some("root mean squared error")),
        "r2" => ("Explained share of the variance", Some("R\u{b2}")),
        _ => ("Metric", Some("value")),
    }
}
