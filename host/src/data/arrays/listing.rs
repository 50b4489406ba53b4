//! What arrays a file holds, before any of them is read: `.npz`, `.npy` and `.safetensors`.

use super::super::DataError;
use super::array::{Array, Bytes, from_fortran};
use super::element::{Element, Kind};
use super::npy;
use super::quoted;
use super::source::{Source, too_large};
use super::tensors;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use pt2::{Container, Fault, Record};
use std::io::Read;
use std::sync::Arc;

/// Arrays of a file, at most.
pub(super) const MOST_ARRAYS: usize = 10_000;
/// Bytes of an array up to which its checksum is computed.
const MOST_CHECKED: u64 = 1 << 30;

/// The arrays of a file.
pub(super) struct Listing {
    pub source: Arc<Source>,
    /// By name.
    pub arrays: Vec<Listed>,
    zip: Option<Container>,
}

/// An array that a file lists.
pub(super) struct Listed {
    pub name: String,
    /// What it is, or why it cannot be read.
    pub header: Result<Header, String>,
}

/// What is known of an array before it is read.
pub(super) struct Header {
    pub element: Element,
    pub shape: Vec<usize>,
    pub fortran: bool,
    /// Bytes of its elements.
    pub bytes: u64,
    pub place: Place,
}

/// Where an array's elements lie.
pub(super) enum Place {
    /// In the file, from this place on.
    Plain(u64),
    /// In a record of a zip, by its number, behind so many bytes of a header.
    Record(usize, usize),
}

impl Listing {
    /// Lists a file's arrays; its name's ending says what it is.
    pub fn open(source: Source) -> Result<Self, DataError> {
        let ending = (source.path.extension()).map(|it| it.to_string_lossy().to_lowercase());
        let (mut arrays, zip) = match ending.as_deref() {
            Some("npy") => (vec![of_npy(&source)?], None),
            Some("npz") => {
                let (arrays, zip) = of_npz(&source)?;
                (arrays, Some(zip))
            }
            Some("safetensors") => (tensors::list(&source)?, None),
            Some("pkl" | "pickle" | "pt" | "pth") => {
                return Err(source.refuse(
                    "it is pickled, and pickle runs code: save the arrays by numpy.savez or safetensors",
                ));
            }
            _ => {
                return Err(source.refuse(
                    "what it holds is told by its name: expected .npz, .npy, .safetensors or .csv",
                ));
            }
        };
        if arrays.is_empty() {
            return Err(source.refuse("it holds no array"));
        }
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            source: Arc::new(source),
            arrays,
            zip,
        })
    }

    /// The array at this place of the list, of which memory may hold `limit` bytes.
    pub fn take(&self, at: usize, limit: u64) -> Result<Array, DataError> {
        let listed = &self.arrays[at];
        let mut array = Array {
            source: self.source.clone(),
            name: listed.name.clone(),
            element: Element::new(Kind::U8),
            shape: Vec::new(),
            bytes: Bytes::File(0),
        };
        let header = (listed.header.as_ref()).map_err(|reason| array.refuse(reason))?;
        array.element = header.element;
        array.shape.clone_from(&header.shape);
        if header.shape.is_empty() {
            return Err(
                array.refuse("it is one number: expected samples along its first dimension")
            );
        }
        if header.bytes == 0 {
            let shape = &header.shape;
            return Err(array.refuse(format!("its shape {shape:?} has no element")));
        }
        let (plain, packed) = match header.place {
            Place::Plain(offset) => (Some(offset), None),
            Place::Record(record, before) => {
                let zip = self.zip.iter();
                let record = zip.map(|it| &it.records[record]).next();
                match record.filter(|it| !it.deflated) {
                    Some(record) => {
                        check(&self.source, record).map_err(|reason| array.refuse(reason))?;
                        (Some(record.data + before as u64), None)
                    }
                    None => (None, record.map(|it| (it, before))),
                }
            }
        };
        // A vector has one order.
        let fortran = header.fortran && header.shape.len() > 1;
        if let (Some(offset), false) = (plain, fortran) {
            array.bytes = Bytes::File(offset);
            return Ok(array);
        }
        if header.bytes > limit {
            return Err(array.refuse(too_large(header.bytes, limit)));
        }
        let mut bytes = match (plain, packed, &self.zip) {
            (Some(offset), ..) => {
                let mut bytes = vec![0; header.bytes as usize];
                self.source.read_at(&mut bytes, offset)?;
                bytes
            }
            (None, Some((record, before)), Some(zip)) => {
                let read = zip.read(record, header.bytes + before as u64);
                let mut bytes = read.map_err(|fault| array.refuse(said(fault)))?;
                bytes.drain(..before);
                bytes
            }
            _ => return Err(array.refuse("it is not in the file")),
        };
        self.source.expect_unchanged()?;
        if fortran {
            bytes = from_fortran(&bytes, &array.shape, array.element.size());
        }
        array.bytes = Bytes::Memory(Arc::new(bytes));
        Ok(array)
    }
}

fn of_npy(source: &Source) -> Result<Listed, DataError> {
    let mut start = vec![0; (source.length as usize).min(npy::MOST)];
    source.read_at(&mut start, 0)?;
    let header = npy::header(&start).map_err(|reason| source.refuse(reason))?;
    let header = of_header(header, source.length, |length| Place::Plain(length as u64));
    Ok(Listed {
        name: String::new(),
        header: Ok(header.map_err(|reason| source.refuse(reason))?),
    })
}

/// A header whose array is in so many bytes together with it.
fn of_header(
    header: npy::Header,
    length: u64,
    place: impl Fn(usize) -> Place,
) -> Result<Header, String> {
    let expected = (header.length as u64).saturating_add(header.bytes);
    if expected != length {
        return Err(format!(
            "it has {length} bytes, its header asks for {expected}: copy the file once more, or save it again"
        ));
    }
    Ok(Header {
        element: header.element,
        fortran: header.fortran,
        bytes: header.bytes,
        shape: header.shape,
        place: place(header.length),
    })
}

fn of_npz(source: &Source) -> Result<(Vec<Listed>, Container), DataError> {
    let zip = Container::open_flat(pt2::Bytes::File(source.reopen()?));
    let zip = zip.map_err(|fault| source.refuse(said(fault)))?;
    if zip.records.len() > MOST_ARRAYS {
        let count = zip.records.len();
        return Err(source.refuse(format!(
            "it holds {count} arrays, expected at most {MOST_ARRAYS}"
        )));
    }
    let mut arrays = Vec::new();
    for (at, record) in zip.records.iter().enumerate() {
        let Some(name) = record.name.strip_suffix(".npy") else {
            continue;
        };
        let start = start_of(source, record)?;
        let header = start
            .and_then(|start| npy::header(&start))
            .and_then(|header| of_header(header, record.size, |length| Place::Record(at, length)));
        arrays.push(Listed {
            name: quoted_name(name),
            header,
        });
    }
    Ok((arrays, zip))
}

/// The first bytes of a record, unpacked.
fn start_of(source: &Source, record: &Record) -> Result<Result<Vec<u8>, String>, DataError> {
    let most = npy::MOST as u64;
    let mut stored = vec![0; record.stored.min(most) as usize];
    source.read_at(&mut stored, record.data)?;
    if !record.deflated {
        return Ok(Ok(stored));
    }
    let mut start = Vec::new();
    let mut reader = DeflateDecoder::new(stored.as_slice()).take(most);
    // What was read of it ends somewhere: as much as there is.
    Ok(match reader.read_to_end(&mut start) {
        Err(error) if start.is_empty() => Err(format!("it cannot be unpacked: {error}")),
        _ => Ok(start),
    })
}

/// Fails if a record's bytes, which are stored as they are, do not fit its checksum.
fn check(source: &Source, record: &Record) -> Result<(), String> {
    if record.stored > MOST_CHECKED {
        return Ok(());
    }
    let mut crc = Crc::new();
    let mut buffer = vec![0; record.stored.min(1 << 20) as usize];
    let mut at = 0;
    while at < record.stored {
        let length = (record.stored - at).min(1 << 20) as usize;
        let read = source.read_at(&mut buffer[..length], record.data + at);
        read.map_err(|error| error.to_string())?;
        crc.update(&buffer[..length]);
        at += length as u64;
    }
    match crc.sum() == record.crc {
        true => Ok(()),
        false => Err("its bytes do not fit its checksum: copy the file once more".to_owned()),
    }
}

/// What is wrong with a zip file, without the advice for networks.
fn said(fault: Fault) -> String {
    match fault {
        Fault::NotZip => "it is no zip file: expected what numpy.savez writes".to_owned(),
        Fault::Short(what) => format!("it is cut short ({what}): copy it once more"),
        Fault::Damaged { place, reason } => {
            format!("it is damaged: {place}: {reason}: copy it once more, or save it again")
        }
        Fault::Read(error) => format!("failed to read it: {error}"),
        fault => fault.to_string(),
    }
}

/// A name as it is shown and written in options: short and without control characters.
pub(super) fn quoted_name(name: &str) -> String {
    let quoted = quoted(name);
    quoted[1..quoted.len() - 1].to_owned()
}
