//! What a transformer can be asked for, and whether it goes together.

use std::num::NonZeroU16;

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::NAME;
use crate::model::parts::image_channels;
use crate::model::{InputSpec, ModelError};

/// Options of `vit`; the defaults are DeiT-tiny's.
///
/// # Source
/// Dosovitskiy et al. 2021, arXiv:2010.11929, with the sizes of Touvron et al. 2021, arXiv:2012.12877, table 1.
/// Names, initial values and epsilon as in timm 1.0's `VisionTransformer`. Dropout as in Dosovitskiy et al.,
/// appendix B.1; stochastic depth by Huang et al. 2016, arXiv:1603.09382, for each sample and each of a block's
/// two branches, as in timm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VitOptions {
    /// Pixels of a patch's side, which divide the image's height and width.
    pub patch: NonZeroU16,
    /// Features of each token.
    pub width: NonZeroU16,
    /// Number of blocks, each an attention and a perceptron of one hidden layer.
    pub depth: NonZeroU16,
    /// Heads of each attention, whose number divides `width`.
    pub heads: NonZeroU16,
    /// Hidden units of each block's perceptron in multiples of `width`, rounded down.
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub mlp_ratio: f64,
    /// What the last linear layer reads.
    pub pool: Pool,
    /// Probability that a value is dropped in training: of the tokens with their positions, of hidden units, and of what attention and perceptron add to the tokens.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// Probability that a sample passes by a branch of the last block in training; it grows linearly from 0 in the first block.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub stochastic_depth: f64,
}

/// What the last linear layer reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// A token that stands before those of the patches and is learnt.
    #[default]
    ClassToken,
    /// The mean over the patches; there is no class token.
    Mean,
}

impl Default for VitOptions {
    fn default() -> Self {
        const PATCH: NonZeroU16 = NonZeroU16::new(16).expect("16 is not zero");
        const WIDTH: NonZeroU16 = NonZeroU16::new(192).expect("192 is not zero");
        const DEPTH: NonZeroU16 = NonZeroU16::new(12).expect("12 is not zero");
        const HEADS: NonZeroU16 = NonZeroU16::new(3).expect("3 is not zero");
        Self {
            patch: PATCH,
            width: WIDTH,
            depth: DEPTH,
            heads: HEADS,
            mlp_ratio: 4.0,
            pool: Pool::default(),
            dropout: 0.0,
            stochastic_depth: 0.0,
        }
    }
}

impl VitOptions {
    /// Probability that a sample passes by a branch of the block at this place, from 0.
    pub(super) fn stochastic_depth_of(&self, place: i64) -> f64 {
        let last = i64::from(self.depth.get()) - 1;
        self.stochastic_depth * place as f64 / last.max(1) as f64
    }
}

/// Sizes that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Channels of the image.
    pub(super) channels: i64,
    /// Pixels of a patch's side.
    pub(super) patch: i64,
    /// Patches of the image.
    pub(super) patches: i64,
    /// Features of each token.
    pub(super) width: i64,
    pub(super) depth: i64,
    pub(super) heads: i64,
    /// Hidden units of each block's perceptron.
    pub(super) hidden: i64,
}

impl Sizes {
    /// Those that are asked for, on such images.
    pub(super) fn of(options: &VitOptions, spec: &InputSpec) -> Result<Self, ModelError> {
        let channels = image_channels(NAME, spec, 1)?;
        let [height, across] = [spec.shape[1], spec.shape[2]];
        let [patch, width, depth, heads] =
            [options.patch, options.width, options.depth, options.heads]
                .map(|it| i64::from(it.get()));
        let unfit = |option, got: String, reason: String| {
            Err(ModelError::Unfit {
                model: NAME,
                option,
                got,
                reason,
            })
        };
        if height % patch != 0 || across % patch != 0 {
            let both = |side: &i64| height % side == 0 && across % side == 0;
            return unfit(
                "patch",
                patch.to_string(),
                format!(
                    "does not divide images of {height} x {across} pixels: expected one of {}",
                    listed((1..=height.min(across)).filter(both))
                ),
            );
        }
        let patches = (height / patch) * (across / patch);
        if patches == 1 && options.pool == Pool::Mean {
            return unfit(
                "patch",
                patch.to_string(),
                format!(
                    "makes one token of an image of {height} x {across} pixels, which has no other to attend to: \
                     expected a smaller patch, or pool = \"class-token\""
                ),
            );
        }
        if width < 2 {
            return unfit(
                "width",
                width.to_string(),
                "leaves the same of every token after its layer norm: expected 2 or more"
                    .to_owned(),
            );
        }
        if width % heads != 0 {
            return unfit(
                "heads",
                heads.to_string(),
                format!(
                    "does not divide the {width} features of a token (`width`): expected one of {}",
                    listed((1..=width).filter(|it| width % it == 0))
                ),
            );
        }
        // As Python's int().
        let hidden = (width as f64 * options.mlp_ratio) as i64;
        if hidden < 1 {
            return unfit(
                "mlp_ratio",
                options.mlp_ratio.to_string(),
                format!(
                    "leaves a block no hidden unit: expected 1/{width} or more, at a `width` of {width}"
                ),
            );
        }
        Ok(Self {
            channels,
            patch,
            patches,
            width,
            depth,
            heads,
            hidden,
        })
    }
}

fn listed(numbers: impl Iterator<Item = i64>) -> String {
    numbers
        .map(|it| it.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
