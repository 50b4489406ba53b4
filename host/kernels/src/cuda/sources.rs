//! The kernels' sources, and which kernels each has.

/// A source that is compiled alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// File name in `host/kernels/cuda`.
    pub name: &'static str,
    /// CUDA C++, which includes [`HEADER`].
    pub text: &'static str,
    /// Names of its kernels.
    pub kernels: &'static [&'static str],
}

/// Name and text of what every source includes.
pub const HEADER: [&str; 2] = ["shared.cuh", include_str!("../../cuda/shared.cuh")];

/// All sources.
pub const SOURCES: [Source; 9] = [
    Source {
        name: "adamw.cu",
        text: include_str!("../../cuda/adamw.cu"),
        kernels: &["adamw"],
    },
    Source {
        name: "batch.cu",
        text: include_str!("../../cuda/batch.cu"),
        kernels: &["gather_images"],
    },
    Source {
        name: "clip.cu",
        text: include_str!("../../cuda/clip.cu"),
        kernels: &["clip_squares", "clip_factors"],
    },
    Source {
        name: "coins.cu",
        text: include_str!("../../cuda/coins.cu"),
        kernels: &["coins"],
    },
    Source {
        name: "cross_entropy.cu",
        text: include_str!("../../cuda/cross_entropy.cu"),
        kernels: &["cross_entropy_rows", "cross_entropy_sums"],
    },
    Source {
        name: "linear.cu",
        text: include_str!("../../cuda/linear.cu"),
        kernels: &[
            "linear_forward",
            "linear_input_slopes",
            "linear_weight_slopes",
            "linear_bias_slopes",
        ],
    },
    Source {
        name: "norm.cu",
        text: include_str!("../../cuda/norm.cu"),
        kernels: &[
            "norm_moments_f32",
            "norm_moments_bf16",
            "norm_settle",
            "norm_known",
            "norm_activate_f32",
            "norm_activate_bf16",
            "norm_slope_sums_f32",
            "norm_slope_sums_bf16",
            "norm_settle_slopes",
            "norm_value_slopes_f32",
            "norm_value_slopes_bf16",
        ],
    },
    Source {
        name: "norm_by_channel.cu",
        text: include_str!("../../cuda/norm_by_channel.cu"),
        kernels: &[
            "norm_by_channel_f32",
            "norm_by_channel_bf16",
            "norm_by_channel_known_f32",
            "norm_by_channel_known_bf16",
            "norm_by_channel_slopes_f32",
            "norm_by_channel_slopes_bf16",
        ],
    },
    Source {
        name: "sgd.cu",
        text: include_str!("../../cuda/sgd.cu"),
        kernels: &["sgd_momentum", "sgd_plain"],
    },
];
