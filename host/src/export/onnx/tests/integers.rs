//! Models in 8 bits.

use tch::Kind;

use super::*;

/// What one of the operators between integers and numbers makes; none of another.
pub fn compute(node: &Node, values: &Values) -> Option<tch::Tensor> {
    let read = |i: usize| &values[&node.input[i]];
    let find = |name: &str| node.attribute.iter().find(|it| it.name == name);
    Some(match node.op_type.as_str() {
        "QuantizeLinear" => {
            assert_eq!(read(2).kind(), Kind::Uint8);
            let integers = (read(0) / read(1)).round() + read(2);
            integers.clamp(0.0, 255.0).to_kind(Kind::Uint8)
        }
        "DequantizeLinear" => {
            let (scale, zero) = (read(1), read(2));
            assert_eq!(zero.kind(), read(0).kind());
            assert_eq!(zero.size(), scale.size());
            let mut shape = vec![1; read(0).dim()];
            if scale.dim() == 1 {
                let axis = find("axis").unwrap().i as usize;
                shape[axis] = read(0).size()[axis];
            }
            let zero = zero.to_kind(Kind::Float).view(&shape[..]);
            (read(0).to_kind(Kind::Float) - zero) * scale.view(&shape[..])
        }
        _ => return None,
    })
}

#[test]
fn every_model_computes_in_8_bits_what_was_reckoned_beforehand() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        for is_compact in [false, true] {
            let mut model = model_of(name, options.clone(), shape, classes, 4);
            prune(&mut model, 0.5, 4);
            if is_compact {
                compact(&mut model, 1).unwrap();
            }
            fold(&mut model);
            let input = inputs(shape, 16, 4);
            let parts = input.split(8, 0);
            let quantised = Quantised::new(&model, &parts, 99.9).unwrap();
            let decoded = decode(&onnx(&model, None, Some(&quantised)).unwrap());
            check_structure(&decoded, &batch_of("input", Tensor::FLOAT, shape));
            let graph = decoded.graph.as_ref().unwrap();
            let expected = quantised.forward(&input).unwrap();
            let got = run(graph, &input);
            assert_eq!(got.size(), expected.size(), "{name}");
            // Where arithmetic in another order comes to the other side of a half, an integer differs by one.
            let scale = expected.abs().max().double_value(&[]);
            let error = (&got - &expected).abs();
            assert!(
                error.mean(Kind::Float).double_value(&[]) <= 1e-3 * scale,
                "{name}"
            );
            for tensor in &graph.initializer {
                if model.prunable.contains(&tensor.name) {
                    assert_eq!(tensor.data_type, Tensor::INT8, "{}", tensor.name);
                }
            }
            // Rounding does what ReLU does.
            assert!(!graph.node.iter().any(|it| it.op_type == "Relu"), "{name}");
            let integers = graph
                .initializer
                .iter()
                .filter(|it| it.data_type == Tensor::INT8);
            let weights = integers.filter(|it| it.dims.len() > 1).count();
            assert!(weights >= model.prunable.len(), "{name}");
        }
    }
}
