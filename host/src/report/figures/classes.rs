//! Accuracy of each class by level, and what is taken for what at the last one.

use super::{Figure, FigureError, Section, figure, table};
use crate::report::chart::{Grid, Shade};
use crate::report::part::{Cell, Part};
use crate::report::results::ClassSums;

/// Classes of which a map can be read; the files of the run hold more.
const MOST: usize = 60;

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let mut figures = Vec::new();
    for cell in &part.cells {
        figures.extend(accuracies(part, cell)?);
        figures.extend(confusion(part, cell)?);
    }
    Ok(Section {
        title: "Classes",
        text: "Share of each class's test samples that are right, by level, and, at the last level that is \
               there, share of each class's samples that are taken for each class; of all seeds together. Of more \
               than 60 classes nothing is drawn: classes.jsonl of each level has the counts.",
        figures,
    })
}

fn share(count: u64, samples: u64) -> Option<f64> {
    (samples > 0).then(|| count as f64 / samples as f64)
}

/// The classes of the levels, from the first on, of which something is counted.
fn counted(cell: &Cell) -> &[Vec<ClassSums>] {
    let levels = &cell.results.classes;
    let there = |level: &&Vec<ClassSums>| !level.is_empty() && level.len() <= MOST;
    &levels[..levels.iter().take_while(there).count()]
}

fn accuracies(part: &Part, cell: &Cell) -> Result<Option<Figure>, FigureError> {
    let levels = counted(cell);
    let classes = levels.iter().map(Vec::len).max().unwrap_or(0);
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for class in 0..classes {
        let own = levels.iter().enumerate().map(|(level, all)| {
            let sums = all.get(class)?;
            let accuracy = share(sums.correct?, sums.samples)?;
            let texts = [class, level].map(|it| it.to_string());
            let mut row = vec![cell.name.clone()];
            row.extend(texts);
            row.extend([sums.samples.to_string(), format!("{accuracy:.6}")]);
            rows.push(row);
            Some(accuracy)
        });
        values.push(own.collect());
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let grid = Grid {
        title: "Accuracy of classes".to_owned(),
        subtitle: cell.name.clone(),
        row_label: "class".to_owned(),
        column_label: "level".to_owned(),
        rows: (0..classes).map(|it| it.to_string()).collect(),
        columns: (0..levels.len()).map(|it| it.to_string()).collect(),
        values,
        shade: shade("accuracy"),
    };
    let csv = table(&["run", "class", "level", "samples", "accuracy"], rows)?;
    let picture = grid.svg()?;
    Ok(Some(figure(
        part,
        "classes",
        &cell.name,
        &grid.title,
        picture,
        csv,
    )))
}

fn confusion(part: &Part, cell: &Cell) -> Result<Option<Figure>, FigureError> {
    let levels = counted(cell);
    let Some((level, all)) = levels.iter().enumerate().next_back() else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (class, sums) in all.iter().enumerate() {
        let predicted = sums.predicted.iter().flatten().take(all.len());
        let own = predicted.enumerate().map(|(other, &count)| {
            let mut row = vec![cell.name.clone()];
            row.extend([level, class, other].map(|it| it.to_string()));
            row.push(count.to_string());
            rows.push(row);
            share(count, sums.samples)
        });
        values.push(own.collect());
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = (0..all.len()).map(|it| it.to_string()).collect();
    let grid = Grid {
        title: format!("What is taken for what at level {level}"),
        subtitle: cell.name.clone(),
        row_label: "class".to_owned(),
        column_label: "taken for".to_owned(),
        rows: names.clone(),
        columns: names,
        values,
        shade: shade("share of the class"),
    };
    let csv = table(&["run", "level", "class", "taken_for", "samples"], rows)?;
    let picture = grid.svg()?;
    Ok(Some(figure(
        part,
        "confusion",
        &cell.name,
        &grid.title,
        picture,
        csv,
    )))
}

fn shade(label: &str) -> Shade {
    Shade {
        label: label.to_owned(),
        low: 0.0,
        high: 1.0,
        log: false,
    }
}
