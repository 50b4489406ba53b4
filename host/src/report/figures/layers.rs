//! Density of each layer by level.

use super::{Figure, FigureError, Section, figure, table};
use crate::report::chart::{Grid, Shade};
use crate::report::part::{Cell, Part};

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let least = part
        .cells
        .iter()
        .flat_map(|cell| &cell.results.layers)
        .flatten();
    let least = least
        .map(|it| it.density)
        .filter(|it| *it > 0.0)
        .fold(1.0, f64::min);
    let mut figures = Vec::new();
    for cell in &part.cells {
        figures.extend(draw(part, cell, least)?);
    }
    Ok(Section {
        title: "Density of layers",
        text: "Share of each layer's weights that is left, by level; mean over seeds. All maps of this \
               part have the same logarithmic shades.",
        figures,
    })
}

fn draw(part: &Part, cell: &Cell, least: f64) -> Result<Option<Figure>, FigureError> {
    let levels = &cell.results.layers;
    let Some(first) = levels.first().filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for layer in first.iter().map(|it| &it.layer) {
        let own = levels.iter().enumerate().map(|(level, layers)| {
            let density = layers.iter().find(|it| it.layer == *layer)?.density;
            rows.push(vec![
                cell.name.clone(),
                layer.clone(),
                level.to_string(),
                format!("{density:.6}"),
            ]);
            Some(density)
        });
        values.push(own.collect());
    }
    let short = |name: &str| name.strip_suffix(".weight").unwrap_or(name).to_owned();
    let grid = Grid {
        title: "Density of layers".to_owned(),
        subtitle: cell.name.clone(),
        row_label: "layer".to_owned(),
        column_label: "level".to_owned(),
        rows: first.iter().map(|it| short(&it.layer)).collect(),
        columns: (0..levels.len()).map(|it| it.to_string()).collect(),
        values,
        shade: Shade {
            label: "density".to_owned(),
            low: least,
            high: 1.0,
            log: true,
        },
    };
    let csv = table(&["run", "layer", "level", "density"], rows)?;
    Ok(Some(figure(
        part,
        "layers",
        &cell.name,
        &grid.title,
        grid.svg()?,
        csv,
    )))
}
