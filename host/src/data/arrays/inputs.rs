//! How an array's samples become a network's inputs.

use super::super::DataError;
use super::array::Array;
use super::options::{ArraysOptions, Layout, Over};
use super::standard::Standard;
use super::stored::{Becomes, View};

/// Dimensions of a sample, at most.
const MOST_DIMENSIONS: usize = 4;

/// The view of the training file's array that the options ask for.
///
/// # Errors
/// What is no input, and shapes that do not fit: what they are and what to do.
pub(super) fn view(array: &Array, options: &ArraysOptions) -> Result<View, DataError> {
    let element = array.element;
    if element.is_text() {
        return Err(array.refuse("its elements are texts: expected numbers as inputs"));
    }
    let own = match array.sample() {
        [] => vec![1],
        sample => sample.to_vec(),
    };
    let shape = match &options.shape {
        None => own,
        Some(wanted) => {
            let wanted: Vec<usize> = wanted.iter().map(|it| it.get() as usize).collect();
            if super::array::count(&wanted) != Some(array.values()) {
                let reason = format!(
                    "`data.shape` {wanted:?} has another number of values than a sample, whose shape is {own:?}"
                );
                return Err(DataError::unfit("shape", reason));
            }
            wanted
        }
    };
    if shape.len() > MOST_DIMENSIONS {
        return Err(array.refuse(format!(
            "a sample has shape {shape:?}: expected {MOST_DIMENSIONS} dimensions at most, such as [channels, height, \
             width]; `data.shape` gives it another one"
        )));
    }
    let (shape, channels_last) = match (options.layout, shape.as_slice()) {
        (Some(Layout::ChannelsLast), [positions @ .., channels]) if !positions.is_empty() => {
            let first = [&[*channels], positions].concat();
            (first, Some(*channels))
        }
        (Some(Layout::ChannelsLast), _) => {
            let reason = format!("a sample of shape {shape:?} has no channels that come last");
            return Err(DataError::unfit("layout", reason));
        }
        (None, &[height, width, channels])
            if height.min(width) > 4 && matches!(channels, 1 | 3 | 4) =>
        {
            return Err(array.refuse(format!(
                "a sample of shape {shape:?} looks like [height, width, channels], and networks take [channels, \
                 height, width]: say `layout = \"channels-last\"` in [data] to have it reordered, or \
                 `layout = \"channels-first\"` if it is in order"
            )));
        }
        _ => (shape, None),
    };
    let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
    let over = Standard::over(options.standardise, &shape);
    let becomes = match (element.is_integer(), shape.len()) {
        (true, _) => Becomes::Tokens,
        (false, 3) if element.kind == super::element::Kind::U8 && over != Some(Over::Feature) => {
            Becomes::Bytes
        }
        _ => Becomes::Numbers,
    };
    if becomes == Becomes::Tokens && over.is_some() {
        let reason = format!(
            "{} of type {element} are tokens, which have no mean: save numbers, `array.astype(\"float32\")`, or \
             leave `data.standardise` out",
            match array.name.as_str() {
                "" => "inputs".to_owned(),
                name => format!("the inputs `{name}`"),
            }
        );
        return Err(DataError::unfit("standardise", reason));
    }
    if becomes != Becomes::Bytes && options.augment.is_some() {
        let reason = format!(
            "`data.augment` is for images of bytes (uint8) with the shape [channels, height, width] that are not \
             standardised by feature; these are {element} of shape {shape:?}"
        );
        return Err(DataError::unfit("augment", reason));
    }
    Ok(View {
        shape,
        channels_last,
        becomes,
    })
}

/// Fails unless another file's array has samples as the training file's.
pub(super) fn check(array: &Array, train: &Array) -> Result<(), DataError> {
    let kind = |array: &Array| {
        let element = array.element;
        (
            element.is_integer(),
            element.is_text(),
            element.size() == 1 && !element.is_integer(),
        )
    };
    if array.sample() != train.sample() {
        return Err(array.refuse(format!(
            "a sample has shape {:?}, those of the training samples {:?}",
            array.sample(),
            train.sample()
        )));
    }
    match kind(array) == kind(train) {
        true => Ok(()),
        false => Err(array.refuse(format!(
            "its elements are {}, those of the training samples {}: save both as one type",
            array.element, train.element
        ))),
    }
}
