//! The operators of transformers, as ONNX defines them.

use super::*;

/// What a node makes of values; none if it is no operator of transformers.
pub(super) fn compute(node: &Node, values: &Values) -> Option<tch::Tensor> {
    let read = |i: usize| &values[&node.input[i]];
    let find = |name: &str| node.attribute.iter().find(|it| it.name == name).unwrap();
    let ints = |tensor: &tch::Tensor| Vec::<i64>::try_from(tensor.reshape([-1])).unwrap();
    let integers = |values: &[i64]| tch::Tensor::from_slice(values);
    Some(match node.op_type.as_str() {
        "Transpose" => read(0).permute(&find("perm").ints[..]),
        "MatMul" => read(0).matmul(read(1)),
        "Reshape" => {
            let own = read(0).size();
            // 0 is the size that is there.
            let shape = ints(read(1));
            let shape: Vec<i64> = (shape.iter().enumerate())
                .map(|(i, size)| if *size == 0 { own[i] } else { *size })
                .collect();
            read(0).reshape(&shape[..])
        }
        "Shape" => {
            let [start, end] = ["start", "end"].map(|name| find(name).i as usize);
            integers(&read(0).size()[start..end])
        }
        "Concat" => tch::Tensor::cat(&[read(0), read(1)], find("axis").i),
        "Expand" => {
            // Both are broadcast.
            let ones = tch::Tensor::ones(&ints(read(1))[..], (Kind::Float, Device::Cpu));
            read(0) * ones
        }
        "Erf" => read(0).erf(),
        "Softmax" => read(0).softmax(find("axis").i, None::<Kind>),
        "Gather" => {
            let index = read(1);
            assert_eq!(index.dim(), 0);
            read(0).select(find("axis").i, index.int64_value(&[]))
        }
        "ReduceMean" => {
            assert_eq!(find("keepdims").i, 0);
            read(0).mean_dim(&find("axes").ints[..], false, None::<Kind>)
        }
        "LayerNormalization" => {
            assert_eq!(find("axis").i, -1);
            let epsilon = f64::from(find("epsilon").f);
            let input = read(0).to_kind(Kind::Double);
            let centred = &input - input.mean_dim([-1i64].as_slice(), true, None::<Kind>);
            let variance = (&centred * &centred).mean_dim([-1i64].as_slice(), true, None::<Kind>);
            (centred / (variance + epsilon).sqrt() * read(1) + read(2)).to_kind(Kind::Float)
        }
        _ => return None,
    })
}
