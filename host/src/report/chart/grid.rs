//! Heat maps and matrices.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::short;
use super::palette;
use super::{Area, ChartError, Drawn, anchor, heading, letters, picture, px, shorten, text_width};

/// How values become shades.
#[derive(Clone, Debug)]
pub struct Shade {
    /// What the values are.
    pub label: String,
    /// Value of the darkest shade.
    pub low: f64,
    /// Value of the lightest.
    pub high: f64,
    /// Whether shades go by the logarithm.
    pub log: bool,
}

/// Values in rows and columns.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Title.
    pub title: String,
    /// What tells it from its neighbours, in smaller letters.
    pub subtitle: String,
    /// What the rows are.
    pub row_label: String,
    /// What the columns are.
    pub column_label: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// A row of values for each row; those that are missing stay blank.
    pub values: Vec<Vec<Option<f64>>>,
    /// Their shades.
    pub shade: Shade,
}

const LETTERS: f64 = 11.0;
const WIDTH: f64 = 560.0;
/// Room for the shades' key at the right.
const KEY: f64 = 74.0;

impl Shade {
    fn place(&self, value: f64) -> f64 {
        let place = |value: f64| {
            if self.log {
                value.max(1e-12).log10()
            } else {
                value
            }
        };
        let (low, high) = (place(self.low), place(self.high));
        if high <= low {
            return 1.0;
        }
        ((place(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn at(&self, share: f64) -> f64 {
        if self.log {
            let (low, high) = (self.low.max(1e-12).log10(), self.high.max(1e-12).log10());
            return 10f64.powf(low + share * (high - low));
        }
        self.low + share * (self.high - self.low)
    }
}

struct Layout {
    left: f64,
    top: f64,
    cell: (f64, f64),
    upright: bool,
    foot: f64,
    width: f64,
    height: f64,
}

impl Grid {
    /// The grid as SVG.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn svg(&self) -> Result<String, ChartError> {
        let layout = self.layout();
        let name = format!("{} {}", self.title, self.subtitle);
        picture(name.trim(), (layout.width, layout.height), |root| {
            heading(root, layout.width, &self.title, &self.subtitle)?;
            self.draw_cells(root, &layout)?;
            self.draw_names(root, &layout)?;
            self.draw_key(root, &layout)
        })
    }

    fn layout(&self) -> Layout {
        let longest = |names: &[String]| {
            let widths = names.iter().map(|it| text_width(it, LETTERS));
            widths.fold(0.0, f64::max).min(170.0)
        };
        let left = longest(&self.rows).max(20.0) + 22.0;
        let columns = self.columns.len().max(1) as f64;
        // Whatever its size, a matrix has the width of other pictures, so that letters stay alike.
        let wide = ((WIDTH - left - KEY) / columns).clamp(10.0, 64.0);
        let high = match self.rows == self.columns {
            true => wide.min(40.0),
            false => (420.0 / self.rows.len().max(1) as f64).clamp(13.0, 28.0),
        };
        let upright = longest(&self.columns) + 4.0 > wide;
        let foot = if upright {
            longest(&self.columns) + 8.0
        } else {
            18.0
        };
        let top = if self.subtitle.is_empty() { 52.0 } else { 68.0 };
        Layout {
            left,
            top,
            cell: (wide, high),
            upright,
            foot,
            width: (left + columns * wide + KEY).max(WIDTH),
            height: top + self.rows.len() as f64 * high + foot + 24.0,
        }
    }

    fn draw_cells(&self, root: &Area<'_>, layout: &Layout) -> Drawn {
        let (wide, high) = layout.cell;
        let numbers = wide >= 26.0 && high >= 13.0;
        for (row, values) in self.values.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let Some(value) = value.filter(|it| it.is_finite()) else {
                    continue;
                };
                let (x, y) = (
                    layout.left + column as f64 * wide,
                    layout.top + row as f64 * high,
                );
                let share = self.shade.place(value);
                let corners = [(px(x), px(y)), (px(x + wide), px(y + high))];
                root.draw(&Rectangle::new(corners, palette::shade(share).filled()))?;
                if numbers {
                    let style = letters(9.5, palette::on_shade(share), false)
                        .pos(anchor(HPos::Center, VPos::Center));
                    let text = format!("{value:.2}");
                    root.draw_text(&text, &style, (px(x + wide / 2.0), px(y + high / 2.0)))?;
                }
            }
        }
        Ok(())
    }

    fn draw_names(&self, root: &Area<'_>, layout: &Layout) -> Drawn {
        let (wide, high) = layout.cell;
        let style = letters(LETTERS, palette::SOFT, false);
        let right = style.clone().pos(anchor(HPos::Right, VPos::Center));
        for (row, name) in self.rows.iter().enumerate() {
            let y = layout.top + (row as f64 + 0.5) * high;
            let name = shorten(name, LETTERS, 170.0);
            root.draw_text(&name, &right, (px(layout.left - 6.0), px(y)))?;
        }
        let bottom = layout.top + self.rows.len() as f64 * high;
        for (column, name) in self.columns.iter().enumerate() {
            let x = layout.left + (column as f64 + 0.5) * wide;
            let name = shorten(name, LETTERS, 170.0);
            if layout.upright {
                let turned = right.clone().transform(FontTransform::Rotate270);
                root.draw_text(&name, &turned, (px(x), px(bottom + 6.0)))?;
            } else {
                let centred = style.clone().pos(anchor(HPos::Center, VPos::Top));
                root.draw_text(&name, &centred, (px(x), px(bottom + 5.0)))?;
            }
        }
        let label = letters(11.5, palette::SOFT, false);
        root.draw_text(&self.row_label, &label, (px(12.0), px(layout.top - 17.0)))?;
        let centre = layout.left + self.columns.len() as f64 * wide / 2.0;
        let centred = label.pos(anchor(HPos::Center, VPos::Top));
        root.draw_text(
            &self.column_label,
            &centred,
            (px(centre), px(bottom + layout.foot + 4.0)),
        )
    }

    fn draw_key(&self, root: &Area<'_>, layout: &Layout) -> Drawn {
        let left = layout.left + self.columns.len() as f64 * layout.cell.0 + 16.0;
        let height = (self.rows.len() as f64 * layout.cell.1).clamp(40.0, 160.0);
        const STEPS: i32 = 32;
        for step in 0..STEPS {
            let edge = |step| layout.top + height * (1.0 - f64::from(step) / f64::from(STEPS));
            let corners = [
                (px(left), px(edge(step + 1))),
                (px(left + 11.0), px(edge(step))),
            ];
            let share = (f64::from(step) + 0.5) / f64::from(STEPS);
            root.draw(&Rectangle::new(corners, palette::shade(share).filled()))?;
        }
        let style = letters(10.0, palette::SOFT, false).pos(anchor(HPos::Left, VPos::Center));
        for share in [0.0, 0.5, 1.0] {
            let y = layout.top + height * (1.0 - share);
            let text = short(self.shade.at(share));
            root.draw_text(&text, &style, (px(left + 15.0), px(y)))?;
        }
        let label = letters(11.5, palette::SOFT, false);
        root.draw_text(&self.shade.label, &label, (px(left), px(layout.top - 20.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(log: bool) -> Grid {
        Grid {
            title: "Layers".to_owned(),
            subtitle: String::new(),
            row_label: "layer".to_owned(),
            column_label: "level".to_owned(),
            rows: vec!["fc1.weight".to_owned(), "fc<2>".to_owned()],
            columns: vec!["0".to_owned(), "1".to_owned()],
            values: vec![vec![Some(1.0), Some(0.5)], vec![Some(0.1), None]],
            shade: Shade {
                label: "density".to_owned(),
                low: 0.01,
                high: 1.0,
                log,
            },
        }
    }

    #[test]
    fn a_grid_writes_what_is_there_and_leaves_out_what_is_not() {
        let svg = grid(true).svg().unwrap();
        for text in [
            "1.00",
            "0.50",
            "0.10",
            "fc1.weight",
            "fc&lt;2&gt;",
            "density",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn shades_go_by_the_logarithm_where_that_is_asked_for() {
        let (even, log) = (grid(false).shade, grid(true).shade);
        assert!((log.place(0.1) - 0.5).abs() < 1e-12);
        assert!((log.at(0.5) - 0.1).abs() < 1e-12);
        assert!((even.place(0.505) - 0.5).abs() < 1e-12);
        assert_eq!(even.place(7.0), 1.0);
    }
}
