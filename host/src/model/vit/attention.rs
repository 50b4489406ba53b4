//! Attention.

use tch::{Kind, Tensor};

/// What each token reads of all of them: softmax(q k^T / sqrt(d)) v in each head, with d features of a head.
///
/// libtorch's fused attention has no second derivative on the CPU, which strategies ask for, and at the sizes of
/// small images it is hardly faster.
///
/// # Shapes
/// `qkv`: `[batch, tokens, 3 * width]`, the queries of all heads one after the other, then keys, then values;
/// result: `[batch, tokens, width]`.
///
/// # Source
/// Vaswani et al. 2017, arXiv:1706.03762, equation 1.
pub(super) fn attend(qkv: &Tensor, heads: i64) -> Tensor {
    let (batch, tokens, features) = qkv.size3().unwrap_or_else(|error| panic!("{error}"));
    let of_head = features / 3 / heads;
    let parts = qkv
        .view([batch, tokens, 3, heads, of_head])
        .permute([2, 0, 3, 1, 4]);
    let [query, key, value] = [0, 1, 2].map(|part| parts.select(0, part));
    let query = query * (of_head as f64).powf(-0.5);
    let key = key.transpose(-2, -1);
    let scores = kernels::rounded([&query, &key], |[query, key]| query.matmul(key));
    let weights = scores.softmax(-1, None::<Kind>);
    let read = kernels::rounded([&weights, &value], |[weights, value]| weights.matmul(value));
    read.transpose(1, 2).reshape([batch, tokens, features / 3])
}
