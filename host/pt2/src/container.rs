//! The zip file around an archive: where its records lie, checked, and their bytes.
//!
//! Written here rather than taken from a crate, because of what an archive of somebody else's may hold: names
//! that occur twice, records that overlap, counts and lengths that are only claimed. It also tells where a
//! record's bytes and checksums lie, so that a copy can differ in these alone.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::error::Fault;

/// Bytes of the list of records: a record takes about 100.
const DIRECTORY_LIMIT: u64 = 64 << 20;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;

/// Where an archive's bytes are.
#[derive(Debug)]
pub enum Bytes {
    /// On disk.
    File(File),
    /// In memory.
    Memory(Vec<u8>),
}

impl Bytes {
    /// How many there are.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Fills the buffer from this place on.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset),
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).ok();
                let piece =
                    start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
                buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// A record of the archive.
#[derive(Debug, Clone)]
pub struct Record {
    /// Without the folder that holds all records.
    pub name: String,
    /// Whether its bytes are compressed.
    pub deflated: bool,
    /// Bytes when it is read.
    pub size: u64,
    /// Checksum of these.
    pub crc: u32,
    /// Where its header begins.
    pub header: u64,
    /// Where its bytes begin.
    pub data: u64,
    /// How many bytes it has in the file.
    pub stored: u64,
    /// Where the list of records has its checksum.
    pub central_crc: u64,
    /// Whether a descriptor follows the bytes.
    pub described: bool,
}

/// A zip file, its list of records checked.
#[derive(Debug)]
pub struct Container {
    /// The file's.
    pub bytes: Bytes,
    /// Its length.
    pub length: u64,
    /// In the list's order.
    pub records: Vec<Record>,
    by_name: HashMap<String, usize>,
}

impl Container {
    /// Reads the list of records, and the header of each.
    ///
    /// # Errors
    /// If anything is not as the list says.
    pub fn open(bytes: Bytes) -> Result<Self, Fault> {
        Self::with(bytes, enter_folder)
    }

    /// The same of a file whose records keep their names, whatever folders these have, such as NumPy's `.npz`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_flat(bytes: Bytes) -> Result<Self, Fault> {
        Self::with(bytes, |_| Ok(()))
    }

    fn with(bytes: Bytes, rename: fn(&mut [Record]) -> Result<(), Fault>) -> Result<Self, Fault> {
        let length = bytes.length().map_err(Fault::Read)?;
        let directory = directory(&bytes, length)?;
        let mut records = records(&directory)?;
        place(&bytes, directory.start, &mut records)?;
        rename(&mut records)?;
        let names = records.iter().enumerate();
        let by_name = names.map(|(at, it)| (it.name.clone(), at)).collect();
        Ok(Self {
            bytes,
            length,
            records,
            by_name,
        })
    }

    /// The record of this name.
    pub fn find(&self, name: &str) -> Option<&Record> {
        self.by_name.get(name).map(|&at| &self.records[at])
    }

    /// The bytes of a record.
    ///
    /// # Errors
    /// If they are more than `limit`, do not fit the checksum, or cannot be read.
    pub fn read(&self, record: &Record, limit: u64) -> Result<Vec<u8>, Fault> {
        if record.size > limit {
            return Err(Fault::Large {
                record: record.name.clone(),
                bytes: record.size,
                limit,
            });
        }
        let wrong = |reason: &str| Fault::damaged(format!("record {}", record.name), reason);
        // What is stored as it is cannot be longer than the file; what is compressed is within the limit, and
        // takes room as it appears.
        let bytes = if record.deflated {
            let mut packed = vec![0; to_usize(record.stored)?];
            let read = self.bytes.read_at(&mut packed, record.data);
            read.map_err(Fault::Read)?;
            let mut unpacked = Vec::new();
            let mut reader = DeflateDecoder::new(packed.as_slice()).take(record.size + 1);
            let done = reader.read_to_end(&mut unpacked);
            done.map_err(|error| wrong(&error.to_string()))?;
            unpacked
        } else {
            let mut stored = vec![0; to_usize(record.stored)?];
            let read = self.bytes.read_at(&mut stored, record.data);
            read.map_err(Fault::Read)?;
            stored
        };
        if bytes.len() as u64 != record.size {
            return Err(wrong("it is not as long as the list of records says"));
        }
        if checksum(&bytes) != record.crc {
            return Err(wrong("its bytes do not fit its checksum"));
        }
        Ok(bytes)
    }
}

/// The checksum that zip files have.
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn to_usize(number: u64) -> Result<usize, Fault> {
    usize::try_from(number).map_err(|_| Fault::damaged("a record", "it does not fit into memory"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The list of records.
struct Directory {
    start: u64,
    bytes: Vec<u8>,
    count: u64,
}

/// Finds the list of records by the file's last bytes.
fn directory(bytes: &Bytes, length: u64) -> Result<Directory, Fault> {
    let mut magic = [0; 4];
    let begins = length >= 4 && bytes.read_at(&mut magic, 0).is_ok();
    if !begins || !matches!(u32_at(&magic, 0), LOCAL | END) {
        // A file cut within its first four bytes cannot be told from others.
        return Err(Fault::NotZip);
    }
    let short = |what: &str| Fault::Short(what.to_owned());
    let mut tail = vec![0; length.min(22 + 65535) as usize];
    let tail_start = length - tail.len() as u64;
    bytes.read_at(&mut tail, tail_start).map_err(Fault::Read)?;
    let ends = (0..=tail.len().saturating_sub(22)).rev().find(|&at| {
        at + 22 <= tail.len()
            && u32_at(&tail, at) == END
            && at + 22 + usize::from(u16_at(&tail, at + 20)) == tail.len()
    });
    let at = ends.ok_or_else(|| short("its list of records is not there"))?;
    let (mut count, mut size, mut start) = (
        u64::from(u16_at(&tail, at + 10)),
        u64::from(u32_at(&tail, at + 12)),
        u64::from(u32_at(&tail, at + 16)),
    );
    let mut end = tail_start + at as u64;
    if at >= 20 && u32_at(&tail, at - 20) == LOCATOR_64 {
        let footer = u64_at(&tail, at - 20 + 8);
        let mut large = [0; 56];
        let there = footer.checked_add(56).is_some_and(|it| it <= end - 20);
        if !there || bytes.read_at(&mut large, footer).is_err() || u32_at(&large, 0) != END_64 {
            return Err(short(
                "its list of records does not lie where it is said to",
            ));
        }
        (count, size, start) = (u64_at(&large, 32), u64_at(&large, 40), u64_at(&large, 48));
        end = footer;
    }
    if start.checked_add(size) != Some(end) {
        return Err(short(
            "its list of records does not lie where it is said to",
        ));
    }
    if size > DIRECTORY_LIMIT {
        return Err(Fault::Large {
            record: "list of records".to_owned(),
            bytes: size,
            limit: DIRECTORY_LIMIT,
        });
    }
    let mut list = vec![0; size as usize];
    bytes.read_at(&mut list, start).map_err(Fault::Read)?;
    Ok(Directory {
        start,
        bytes: list,
        count,
    })
}

/// Reads the list. Where the records' bytes lie is not known yet.
fn records(directory: &Directory) -> Result<Vec<Record>, Fault> {
    let wrong = |reason: &str| Fault::damaged("the list of records", reason);
    let list = &directory.bytes;
    let (mut records, mut at) = (Vec::new(), 0);
    let mut names = HashSet::new();
    while at < list.len() {
        if at + 46 > list.len() || u32_at(list, at) != CENTRAL {
            return Err(wrong("an entry is no entry"));
        }
        let lengths = [28, 30, 32].map(|field| usize::from(u16_at(list, at + field)));
        let end = at + 46 + lengths.iter().sum::<usize>();
        if end > list.len() {
            return Err(wrong("an entry goes on behind its end"));
        }
        let name = list[at + 46..at + 46 + lengths[0]].to_vec();
        let name = String::from_utf8(name).map_err(|_| wrong("a name is not UTF-8"))?;
        let within = |reason: &str| Fault::damaged(format!("record {}", quoted(&name)), reason);
        let flags = u16_at(list, at + 8);
        if flags & 1 != 0 {
            return Err(within("it is encrypted"));
        }
        let deflated = match u16_at(list, at + 10) {
            0 => false,
            8 => true,
            method => return Err(within(&format!("it is compressed by method {method}"))),
        };
        let mut record = Record {
            deflated,
            crc: u32_at(list, at + 16),
            stored: u64::from(u32_at(list, at + 20)),
            size: u64::from(u32_at(list, at + 24)),
            header: u64::from(u32_at(list, at + 42)),
            data: 0,
            central_crc: directory.start + at as u64 + 16,
            described: flags & 8 != 0,
            name: String::new(),
        };
        let extra = &list[at + 46 + lengths[0]..at + 46 + lengths[0] + lengths[1]];
        enlarge(&mut record, extra).ok_or_else(|| within("its large sizes are missing"))?;
        if !deflated && record.size != record.stored {
            return Err(within("it has two sizes"));
        }
        if !names.insert(name.clone()) {
            return Err(within("its name occurs twice"));
        }
        record.name = name;
        records.push(record);
        at = end;
    }
    match records.len() as u64 == directory.count {
        true => Ok(records),
        false => Err(wrong("it has another length than it says")),
    }
}

/// Puts sizes of 64 bits in the place of those that do not fit into 32.
fn enlarge(record: &mut Record, mut extra: &[u8]) -> Option<()> {
    let limit = u64::from(u32::MAX);
    let fields = [&mut record.size, &mut record.stored, &mut record.header];
    if fields.iter().all(|field| **field != limit) {
        return Some(());
    }
    loop {
        let (&[a, b, c, d], rest) = extra.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([c, d]));
        let field = rest.get(..length)?;
        if u16::from_le_bytes([a, b]) == 1 {
            let mut numbers = field.chunks_exact(8);
            for large in fields {
                if *large == limit {
                    *large = u64_at(numbers.next()?, 0);
                }
            }
            return Some(());
        }
        extra = &rest[length..];
    }
}

/// Finds the records' bytes, and makes sure that no two records share any.
fn place(bytes: &Bytes, directory: u64, records: &mut [Record]) -> Result<(), Fault> {
    let mut spans = Vec::with_capacity(records.len());
    for record in records.iter_mut() {
        let wrong =
            |reason: &str| Fault::damaged(format!("record {}", quoted(&record.name)), reason);
        let outside = || wrong("it does not lie within the file");
        let begin = record.header.checked_add(30).ok_or_else(outside)?;
        if begin > directory {
            return Err(outside());
        }
        let mut header = [0; 30];
        let read = bytes.read_at(&mut header, record.header);
        read.map_err(Fault::Read)?;
        let name = usize::from(u16_at(&header, 26));
        record.data = begin + name as u64 + u64::from(u16_at(&header, 28));
        let end = record.data.checked_add(record.stored);
        let end = end.filter(|&end| end <= directory).ok_or_else(outside)?;
        let mut own = vec![0; name];
        bytes.read_at(&mut own, begin).map_err(Fault::Read)?;
        if u32_at(&header, 0) != LOCAL || own != record.name.as_bytes() {
            return Err(wrong("its header is another one's"));
        }
        spans.push((record.header, end, record.name.as_str()));
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[0].1 > pair[1].0 {
            let other = quoted(pair[1].2);
            let place = format!("record {}", quoted(pair[0].2));
            return Err(Fault::damaged(place, format!("it overlaps with {other}")));
        }
    }
    Ok(())
}

/// Takes the name of the folder that holds everything off the records' names.
fn enter_folder(records: &mut [Record]) -> Result<(), Fault> {
    let Some(first) = records.first() else {
        return Err(Fault::damaged("the list of records", "it is empty"));
    };
    let folder = first.name.split('/').next().unwrap_or_default().to_owned();
    for record in records {
        let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !record.name.split('/').all(part) {
            let place = format!("record {}", quoted(&record.name));
            return Err(Fault::damaged(place, "its name leads out of the archive"));
        }
        let inside = record.name.split_once('/');
        let inside = inside.filter(|(outer, _)| *outer == folder);
        let Some((_, name)) = inside else {
            let place = format!("record {}", quoted(&record.name));
            let reason = format!("it does not lie in the folder {}", quoted(&folder));
            return Err(Fault::damaged(place, reason));
        };
        record.name = name.to_owned();
    }
    Ok(())
}

/// A name from a file, short and without control characters.
pub fn quoted(name: &str) -> String {
    let short: String = name.chars().take(200).collect();
    short.escape_debug().to_string()
}

/// Where in the file a record's checksum stands: in the list, and in its header or behind its bytes.
///
/// # Errors
/// If the file cannot be read, or has another checksum there.
pub fn checksums(container: &Container, record: &Record) -> Result<Vec<u64>, Fault> {
    let at = |offset| -> Result<u32, Fault> {
        let mut number = [0; 4];
        let read = container.bytes.read_at(&mut number, offset);
        read.map_err(Fault::Read)?;
        Ok(u32_at(&number, 0))
    };
    let mut places = vec![record.central_crc];
    let header = record.header + 14;
    if !record.described || at(header)? != 0 {
        places.push(header);
    }
    if record.described {
        let after = record.data + record.stored;
        let signed = at(after)? == DESCRIPTOR;
        places.push(after + if signed { 4 } else { 0 });
    }
    for &place in &places {
        if at(place)? != record.crc {
            let place = format!("record {}", record.name);
            return Err(Fault::damaged(place, "it has two checksums"));
        }
    }
    Ok(places)
}
