//! Test accuracy against density.

use super::{FigureError, Section, against_density};
use crate::experiment::Measure;
use crate::report::part::Part;
use crate::report::results::value;

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let pick = |summary: &_| value(Measure::TestAccuracy, summary);
    let mut figures = Vec::new();
    for combination in part.combinations() {
        let title = "Test accuracy against density";
        figures.extend(against_density(
            part,
            &combination,
            title,
            "test-accuracy",
            pick,
        )?);
    }
    Ok(Section {
        title: "Accuracy",
        text: "Mean over seeds at each level's end; the shaded bands or bars are 95 % Student \
               intervals of the mean. Dense is at the left, sparse at the right, on a logarithmic axis.",
        figures,
    })
}
