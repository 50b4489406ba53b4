//! Sign flips.

use super::{FigureError, Section, against_density};
use crate::records::Summary;
use crate::report::part::Part;

type Pick = fn(&Summary) -> Option<f64>;

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let against: [(&str, &str, Pick); 3] = [
        ("Signs that differ from init", "flips-against-init", |it| {
            Some(it.flips_init)
        }),
        (
            "Signs that differ from the level's start",
            "flips-against-level-start",
            |it| Some(it.flips_start),
        ),
        (
            "Signs that differ from the previous level's end",
            "flips-against-previous-end",
            |it| it.flips_previous,
        ),
    ];
    let mut figures = Vec::new();
    for combination in part.combinations() {
        for (title, kind, pick) in against {
            let finite = |it: &_| pick(it).filter(|it| it.is_finite());
            figures.extend(against_density(part, &combination, title, kind, finite)?);
        }
    }
    Ok(Section {
        title: "Sign flips",
        text: "Share of the weights surviving at a level's end whose sign is another than at init, at \
               the level's start, or at the previous level's end. Mean over seeds with 95 % Student \
               intervals. Methods that return to init start every level without a flip, so within a \
               level their order can be the reverse of that against init.",
        figures,
    })
}
