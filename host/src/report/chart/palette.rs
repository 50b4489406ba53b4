//! Colours that people with any colour vision tell apart.

use plotters::style::RGBColor;

/// Background.
pub const PAPER: &str = "#FFFFFF";
/// Titles.
pub const INK: &str = "#1F2328";
/// Labels and axes.
pub const SOFT: &str = "#57606A";
/// Grid lines.
pub const GRID: &str = "#E3E7EC";

/// Colours of series.
///
/// # Source
/// Okabe & Ito 2008, *Color Universal Design*; its yellow is too pale for lines, its black is taken by
/// the text.
pub const SERIES: [&str; 7] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A6A53",
];

/// A colour and what takes its place on a dark page.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Shift {
    /// As drawn.
    pub light: &'static str,
    /// On a dark page.
    pub dark: &'static str,
}

/// Colours that a dark page replaces; the others can be seen on both.
pub const DARK: [Shift; 8] = [
    Shift {
        light: PAPER,
        dark: "#161B22",
    },
    Shift {
        light: INK,
        dark: "#E6EDF3",
    },
    Shift {
        light: SOFT,
        dark: "#9BA6B2",
    },
    Shift {
        light: GRID,
        dark: "#2B323B",
    },
    Shift {
        light: SERIES[0],
        dark: "#58A6E6",
    },
    Shift {
        light: SERIES[1],
        dark: "#F0803C",
    },
    Shift {
        light: SERIES[2],
        dark: "#2FBF95",
    },
    Shift {
        light: SERIES[6],
        dark: "#B7A58A",
    },
];

/// A colour from its six hexadecimal digits; black if it has none.
pub fn colour(text: &str) -> RGBColor {
    let number = u32::from_str_radix(text.trim_start_matches('#'), 16).unwrap_or(0);
    let [_, red, green, blue] = number.to_be_bytes();
    RGBColor(red, green, blue)
}

/// The colour of a series by its place.
pub fn series(place: usize) -> RGBColor {
    colour(SERIES[place % SERIES.len()])
}

/// A shade from dark (0) to light (1).
///
/// # Source
/// Viridis (Smith & van der Walt 2015, matplotlib), between ten of its colours.
pub fn shade(share: f64) -> RGBColor {
    const STOPS: [(u8, u8, u8); 10] = [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (110, 206, 88),
        (181, 222, 43),
        (253, 231, 37),
    ];
    let place = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let below = (place as usize).min(STOPS.len() - 2);
    let part = place - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    let (a, b) = (STOPS[below], STOPS[below + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// A colour for text on a shade. Not the page's: a shade is the same on a dark page.
pub fn on_shade(share: f64) -> &'static str {
    match share > 0.55 {
        true => "#101010",
        false => "#FAFAFA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_from_hexadecimal_and_shades_go_from_dark_to_light() {
        assert_eq!(colour("#0072B2"), RGBColor(0, 114, 178));
        let brightness = |share| {
            let RGBColor(r, g, b) = shade(share);
            0.3 * f64::from(r) + 0.59 * f64::from(g) + 0.11 * f64::from(b)
        };
        for step in 0..20 {
            let share = f64::from(step) / 20.0;
            assert!(brightness(share + 0.05) > brightness(share), "{share}");
        }
    }
}
