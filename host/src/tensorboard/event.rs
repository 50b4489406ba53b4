//! TensorBoard's event files: protocol buffers in TFRecord frames.

use prost::Message;

/// What happened at a step.
///
/// # Source
/// `tensorflow/core/util/event.proto`, the fields that scalars need.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Time in seconds.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Position on the horizontal axis.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// Only in a file's first event.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    /// Scalars, in all others.
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Scalars>,
}

/// Scalars of one step.
///
/// # Source
/// `Summary` in `tensorflow/core/framework/summary.proto`.
#[derive(Clone, PartialEq, Message)]
pub struct Scalars {
    /// One a tag.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Scalar>,
}

/// One scalar.
///
/// # Source
/// `Summary.Value` in `tensorflow/core/framework/summary.proto`.
#[derive(Clone, PartialEq, Message)]
pub struct Scalar {
    /// Its chart.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// Its value; one of several kinds there, so that a 0 is written too.
    #[prost(float, optional, tag = "2")]
    pub value: Option<f32>,
}

impl Event {
    /// The event that a file starts with.
    pub fn first() -> Self {
        Self {
            file_version: Some("brain.Event:2".to_owned()),
            ..Self::default()
        }
    }

    /// Scalars at a step.
    pub fn scalars(wall_time: f64, step: u64, scalars: Vec<(String, f64)>) -> Self {
        let scalar = |(tag, value): (String, f64)| Scalar {
            tag,
            value: Some(value as f32),
        };
        Self {
            wall_time,
            step: step as i64,
            file_version: None,
            summary: Some(Scalars {
                values: scalars.into_iter().map(scalar).collect(),
            }),
        }
    }
}

/// The bytes of a file with these events.
pub fn encode(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        frame(&event.encode_to_vec(), &mut bytes);
    }
    bytes
}

/// One record: length, its checksum, data, their checksum, little endian.
///
/// # Source
/// `tensorflow/core/lib/io/record_writer.h`.
fn frame(data: &[u8], bytes: &mut Vec<u8>) {
    let length = (data.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(masked(crc32c::crc32c(&length)).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked(crc32c::crc32c(data)).to_le_bytes());
}

/// A checksum that stays one where it is itself part of data with a checksum.
///
/// # Source
/// `Mask` in `tensorflow/core/lib/hash/crc32c.h`.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that these lines of Python write (tensorboard 2.21.0):
    ///
    /// ```text
    /// from tensorboard.compat.proto.event_pb2 import Event
    /// from tensorboard.summary.writer.record_writer import RecordWriter
    /// first = Event(file_version="brain.Event:2")
    /// scalar = Event(wall_time=20, step=20)
    /// scalar.summary.value.add(tag="test/accuracy", simple_value=0.0)
    /// for event in (first, scalar):
    ///     RecordWriter(file).write(event.SerializeToString())
    /// ```
    const GOLDEN: [&[u8]; 2] = [
        &[
            15, 0, 0, 0, 0, 0, 0, 0, 109, 83, 43, 9, 26, 13, 98, 114, 97, 105, 110, 46, 69, 118,
            101, 110, 116, 58, 50, 252, 152, 81, 41,
        ],
        &[
            35, 0, 0, 0, 0, 0, 0, 0, 176, 159, 119, 67, 9, 0, 0, 0, 0, 0, 0, 52, 64, 16, 20, 42,
            22, 10, 20, 10, 13, 116, 101, 115, 116, 47, 97, 99, 99, 117, 114, 97, 99, 121, 21, 0,
            0, 0, 0, 196, 59, 176, 93,
        ],
    ];

    #[test]
    fn events_have_the_bytes_that_tensorboards_own_writer_gives_them() {
        let scalar = Event::scalars(20.0, 20, vec![("test/accuracy".to_owned(), 0.0)]);
        assert_eq!(encode(&[Event::first()]), GOLDEN[0]);
        assert_eq!(encode(&[Event::first(), scalar]), GOLDEN.concat());
    }
}
