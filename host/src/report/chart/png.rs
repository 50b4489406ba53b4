//! Pictures as PNG.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use super::ChartError;

/// Turns SVG into PNG, with fonts of its own: the result is the same on every machine.
pub struct Renderer {
    fonts: Arc<Database>,
}

/// Pixels of the PNG to a pixel of the picture.
const ZOOM: f32 = 2.0;

impl Renderer {
    /// With the embedded fonts.
    pub fn new() -> Self {
        let mut fonts = Database::new();
        let files = [
            epaint_default_fonts::UBUNTU_LIGHT,
            epaint_default_fonts::HACK_REGULAR,
        ];
        for file in files {
            fonts.load_font_data(file.to_vec());
        }
        let first = fonts.faces().next().and_then(|face| face.families.first());
        if let Some(name) = first.map(|(name, _)| name.clone()) {
            fonts.set_sans_serif_family(name);
        }
        Self {
            fonts: Arc::new(fonts),
        }
    }

    /// A picture as PNG.
    ///
    /// # Errors
    /// If the SVG cannot be read or the PNG not be made.
    pub fn render(&self, title: &str, svg: &str) -> Result<Vec<u8>, ChartError> {
        let refused = |reason: String| ChartError::Png {
            title: title.to_owned(),
            reason,
        };
        let options = Options {
            fontdb: Arc::clone(&self.fonts),
            ..Options::default()
        };
        let tree = Tree::from_str(svg, &options).map_err(|error| refused(error.to_string()))?;
        let size = tree.size();
        let pixels = |length: f32| (ZOOM * length).ceil() as u32;
        let mut pixmap = Pixmap::new(pixels(size.width()), pixels(size.height()))
            .ok_or_else(|| refused(format!("a size of {size:?} has no pixels")))?;
        resvg::render(
            &tree,
            Transform::from_scale(ZOOM, ZOOM),
            &mut pixmap.as_mut(),
        );
        pixmap
            .encode_png()
            .map_err(|error| refused(error.to_string()))
    }
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}
