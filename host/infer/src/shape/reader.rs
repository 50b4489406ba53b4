//! One operation at a time: what it reads, its tensors, the shape of its value.

use std::collections::BTreeSet;

use super::{MOST_NUMBERS, Shape};
use crate::error::{Error, Result};
use crate::graph::{Graph, Operation};

/// Height and width of a window to choose from at most.
const WIDEST: usize = 256;

/// An operation that is looked at.
pub struct Reader<'a> {
    /// The list that it stands in.
    pub graph: &'a Graph,
    /// Where.
    pub place: usize,
    /// The operation.
    pub operation: &'a Operation,
    /// Which shape a tensor has.
    pub shape_of: &'a dyn Fn(&str) -> Result<Vec<usize>>,
    /// Tensors that were asked for.
    pub used: &'a mut BTreeSet<String>,
}

impl Reader<'_> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(self.operation.fails(self.place, reason))
    }

    /// Fails with what it reads.
    fn unfit<T>(&self, expected: &str, read: Shape) -> Result<T> {
        self.fail(format!("it reads {read:?}, expected {expected}"))
    }

    fn tensor(&mut self, name: String) -> Result<Vec<usize>> {
        let shape = (self.shape_of)(&name)?;
        self.used.insert(name);
        Ok(shape)
    }

    /// A tensor that must have this shape.
    fn expect(&mut self, name: String, expected: &[usize]) -> Result<()> {
        let shown = name.clone();
        let got = self.tensor(name)?;
        match got == expected {
            true => Ok(()),
            false => Err(Error::tensor(
                &shown,
                format!("it has shape {got:?}, expected {expected:?}"),
            )),
        }
    }

    /// The shape of its value, if it takes what it reads.
    pub fn shape(&mut self, read: &[Shape]) -> Result<Shape> {
        let of = read.first().copied().unwrap_or(Shape::Features(1));
        match self.operation {
            Operation::Input {} => match self.graph.input_shape[..] {
                [features] => Ok(Shape::Features(features)),
                [channels, length] => Ok(Shape::Sequence([channels, length])),
                [channels, height, width] => Ok(Shape::Image([channels, height, width])),
                _ => self.fail(format!(
                    "the input has the shape {:?}, expected one to three sizes",
                    self.graph.input_shape
                )),
            },
            Operation::AddChannel { .. } => match of {
                Shape::Features(length) => Ok(Shape::Sequence([1, length])),
                other => self.unfit("features", other),
            },
            Operation::Flatten { .. } => Ok(Shape::Features(of.numbers())),
            Operation::Linear { layer, bias, .. } => self.linear(layer, *bias, of),
            Operation::Convolution {
                layer,
                bias,
                stride,
                padding,
                ..
            } => self.convolution(layer, *bias, [*stride, *padding], of),
            Operation::Norm { layer, epsilon, .. } => {
                self.positive(*epsilon)?;
                for part in ["weight", "bias", "running_mean", "running_var"] {
                    self.expect(format!("{layer}.{part}"), &[of.channels()])?;
                }
                Ok(of)
            }
            Operation::Relu { .. } | Operation::Gelu { .. } => Ok(of),
            Operation::MaxPool {
                kernel,
                stride,
                padding,
                ..
            } => {
                let Shape::Image([channels, height, width]) = of else {
                    return self.unfit("an image", of);
                };
                if *kernel > WIDEST {
                    let reason = format!("a window of {kernel}, expected at most {WIDEST}");
                    return self.fail(reason);
                }
                if *padding > kernel / 2 {
                    let reason =
                        format!("the padding is {padding}, expected at most half of {kernel}");
                    return self.fail(reason);
                }
                let side = |size| self.side(size, *kernel, *stride, *padding);
                Ok(Shape::Image([channels, side(height)?, side(width)?]))
            }
            Operation::Mean { .. } => match of.image() {
                Some([channels, ..]) => Ok(Shape::Features(channels)),
                None => self.unfit("an image", of),
            },
            Operation::Sum { .. } => match read {
                [one, other] if one == other => Ok(of),
                _ => self.fail(format!("it reads {read:?}, expected two of one shape")),
            },
            Operation::Tokens { .. } => match of {
                Shape::Image([channels, height, width]) => {
                    Ok(Shape::Tokens([height * width, channels]))
                }
                other => self.unfit("an image", other),
            },
            Operation::ClassToken { parameter, .. } => {
                let [tokens, features] = self.tokens(of)?;
                self.expect(parameter.clone(), &[1, 1, features])?;
                Ok(Shape::Tokens([tokens + 1, features]))
            }
            Operation::Positions { parameter, .. } => {
                let [tokens, features] = self.tokens(of)?;
                self.expect(parameter.clone(), &[1, tokens, features])?;
                Ok(of)
            }
            Operation::LayerNorm { layer, epsilon, .. } => {
                self.positive(*epsilon)?;
                let (Shape::Features(features) | Shape::Tokens([_, features])) = of else {
                    return self.unfit("features or tokens", of);
                };
                for part in ["weight", "bias"] {
                    self.expect(format!("{layer}.{part}"), &[features])?;
                }
                Ok(of)
            }
            Operation::Attention { heads, of_head, .. } => {
                let [tokens, features] = self.tokens(of)?;
                let own = heads.checked_mul(*of_head).filter(|it| *it > 0);
                match own.filter(|own| own.checked_mul(3) == Some(features)) {
                    Some(own) => Ok(Shape::Tokens([tokens, own])),
                    None => self.fail(format!(
                        "it reads {features} features, expected 3 times {heads} heads of {of_head}"
                    )),
                }
            }
            Operation::FirstToken { .. } | Operation::MeanOfTokens { .. } => {
                Ok(Shape::Features(self.tokens(of)?[1]))
            }
        }
    }

    fn positive(&self, epsilon: f64) -> Result<()> {
        match epsilon.is_finite() && epsilon > 0.0 {
            true => Ok(()),
            false => self.fail(format!(
                "epsilon is {epsilon}, expected a number greater than 0"
            )),
        }
    }

    fn tokens(&self, of: Shape) -> Result<[usize; 2]> {
        match of {
            Shape::Tokens(sizes) => Ok(sizes),
            other => self.unfit("tokens", other),
        }
    }

    fn linear(&mut self, layer: &str, bias: bool, of: Shape) -> Result<Shape> {
        let (Shape::Features(width) | Shape::Tokens([_, width])) = of else {
            return self.unfit("features or tokens", of);
        };
        let name = format!("{layer}.weight");
        let out = match self.tensor(name.clone())?[..] {
            [out, inputs] if inputs == width => out,
            ref got => {
                let reason = format!("it has shape {got:?}, expected [out, {width}]");
                return Err(Error::tensor(&name, reason));
            }
        };
        if bias {
            self.expect(format!("{layer}.bias"), &[out])?;
        }
        Ok(match of {
            Shape::Tokens([tokens, _]) => Shape::Tokens([tokens, out]),
            _ => Shape::Features(out),
        })
    }

    fn convolution(
        &mut self,
        layer: &str,
        bias: bool,
        [stride, padding]: [usize; 2],
        of: Shape,
    ) -> Result<Shape> {
        let name = format!("{layer}.weight");
        let weight = self.tensor(name.clone())?;
        let side = |size, kernel| self.side(size, kernel, stride, padding);
        let shape = match (of, &weight[..]) {
            (Shape::Sequence([channels, length]), &[out, inputs, kernel]) if inputs == channels => {
                Shape::Sequence([out, side(length, kernel)?])
            }
            (Shape::Image([channels, height, width]), &[out, inputs, down, right])
                if inputs == channels =>
            {
                Shape::Image([out, side(height, down)?, side(width, right)?])
            }
            _ => {
                let reason = format!("it has shape {weight:?}, and reads {of:?}");
                return Err(Error::tensor(&name, reason));
            }
        };
        if bias {
            self.expect(format!("{layer}.bias"), &[weight[0]])?;
        }
        Ok(shape)
    }

    /// How often a window fits.
    fn side(&self, size: usize, kernel: usize, stride: usize, padding: usize) -> Result<usize> {
        if stride == 0 || kernel == 0 {
            return self.fail(format!(
                "a window of {kernel} with stride {stride}, expected both above 0"
            ));
        }
        let padded = padding.checked_mul(2).and_then(|it| it.checked_add(size));
        let padded = padded.filter(|&it| it as u64 <= MOST_NUMBERS);
        match padded.and_then(|it| it.checked_sub(kernel)) {
            Some(room) => Ok(room / stride + 1),
            None => self.fail(format!(
                "a window of {kernel} does not fit into {size} with a padding of {padding}"
            )),
        }
    }
}
