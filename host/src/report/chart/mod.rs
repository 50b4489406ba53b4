//! Pictures as SVG.
//!
//! Drawn by `plotters`, whose coordinates are whole pixels: a picture is drawn at a multiple of its size
//! and scaled down by its view box, which keeps curves smooth.

mod axis;
mod grid;
mod line;
mod mark;
mod palette;
mod png;

pub use axis::Axis;
pub use grid::{Grid, Shade};
pub use line::{LineChart, Point, Series};
pub use palette::{DARK, SERIES, Shift};
pub use png::Renderer;

use std::io;

use plotters::coord::Shift as Moved;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use palette::colour;

/// Drawn pixels to a pixel of the picture.
const SCALE: f64 = 4.0;

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The drawing library refused.
    #[error("failed to draw `{title}`: {reason}")]
    Draw {
        /// Title of the picture.
        title: String,
        /// What the library says.
        reason: String,
    },
    /// The picture cannot be turned into pixels.
    #[error("failed to make a PNG of `{title}`: {reason}")]
    Png {
        /// Title of the picture.
        title: String,
        /// What the library says.
        reason: String,
    },
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Moved>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Draws a picture of this size in pixels.
fn picture(
    title: &str,
    (width, height): (f64, f64),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, ChartError> {
    let size = (px(width) as u32, px(height) as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&colour(palette::PAPER))
            .and_then(|()| draw(&root))
            .and_then(|()| root.present())
            .map_err(|error| ChartError::Draw {
                title: title.to_owned(),
                reason: error.to_string(),
            })?;
    }
    let drawn = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    let shown = format!(
        "<svg class=\"chart\" role=\"img\" aria-label=\"{}\" width=\"{width}\" height=\"{height}\"",
        escape(title)
    );
    Ok(svg.replacen(&drawn, &shown, 1))
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// Pixels of the picture as drawn pixels.
fn px(pixels: f64) -> i32 {
    (pixels * SCALE).round() as i32
}

/// A text's style; the size is in pixels of the picture.
fn letters(size: f64, shade: &str, bold: bool) -> TextStyle<'static> {
    // The SVG backend divides by 1.24 what it takes to be a font's line height.
    let font = ("sans-serif", size * SCALE * 1.24).into_font();
    let style = if bold {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };
    font.style(style).color(&colour(shade))
}

/// About how many pixels a text is wide.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

/// A text that takes no more than so many pixels.
fn shorten(text: &str, size: f64, most: f64) -> String {
    if text_width(text, size) <= most {
        return text.to_owned();
    }
    let letters = (most / (0.56 * size)) as usize;
    let kept: String = text
        .chars()
        .take(letters.saturating_sub(1).max(1))
        .collect();
    format!("{kept}\u{2026}")
}

fn anchor(horizontal: HPos, vertical: VPos) -> Pos {
    Pos::new(horizontal, vertical)
}

/// Title and subtitle at the top; returns the height that they take.
fn heading(
    root: &Area<'_>,
    width: f64,
    title: &str,
    subtitle: &str,
) -> Result<f64, DrawingAreaErrorKind<io::Error>> {
    let at = (px(12.0), px(10.0));
    let text = shorten(title, 14.0, width - 24.0);
    root.draw_text(&text, &letters(14.0, palette::INK, true), at)?;
    if subtitle.is_empty() {
        return Ok(32.0);
    }
    let text = shorten(subtitle, 11.5, width - 24.0);
    root.draw_text(
        &text,
        &letters(11.5, palette::SOFT, false),
        (px(12.0), px(29.0)),
    )?;
    Ok(48.0)
}
