//! Networks that PyTorch archived.

use std::path::Path;

use flate2::Crc;
use pt2::{Archive, ArchiveError, Mode, Part};

use super::Target;
use crate::scratch;

/// Archives of `torch.export`, as they are, and as their records one after the other.
pub const PT2: Target = Target {
    name: "pt2",
    read: pt2,
    dictionary: &[
        "PK\x01\x02",
        "PK\x03\x04",
        "PK\x05\x06",
        "PK\x06\x06",
        "PK\x06\x07",
        "PK\x07\x08",
        "\n--- models/train.json\n",
        "\n--- models/eval.json\n",
        "\n--- models/model.json\n",
        "{\"as_tensor\":{\"name\":\"x\"}}",
        "{\"as_int\":",
        "{\"as_sym_int\":{\"as_name\":\"",
        "{\"as_none\":true}",
        "{\"as_float\":\"Infinity\"}",
        "\"torch.ops.aten.",
        "\"_operator.floordiv\"",
        "Symbol('s0', positive=True, integer=True)",
        "Symbol('u0')",
        "buffer_mutation",
        "parameter_mutation",
        "user_input_mutation",
        "\"strides\"",
        "\"storage_offset\"",
        "\"persistent\"",
    ],
    mutations: 400,
    // The text of a graph takes several times its length, and what is compressed a thousand times that.
    memory: 512,
};

/// A mutation of a zip file seldom fits its checksums; one of the records that are zipped here always does.
fn pt2(bytes: &[u8]) {
    if let Ok(archive) = Archive::from_bytes(Path::new("net.pt2"), zipped(bytes))
        && let Ok(state) = read(&archive)
    {
        let value = |name: &str| {
            state
                .iter()
                .find(|(known, _)| known == name)
                .map(|it| it.1.clone())
        };
        let mut copy = Vec::new();
        if archive.write_with(Part::Whole, &mut copy, value).is_ok() {
            let copy =
                Archive::from_bytes(Path::new("copy.pt2"), copy).map_err(|error| error.to_string());
            let again = copy.and_then(|copy| read(&copy).map_err(|error| error.to_string()));
            assert_eq!(again.as_ref(), Ok(&state));
        }
    }
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [b'P', b'K', ..] => bytes.to_vec(),
        _ => zip("net/", &scratch::split(bytes, "")),
    }
}

/// The values of everything that has a name in the state; what the graphs say of themselves is asked, too.
fn read(archive: &Archive) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    for mode in [Mode::Train, Mode::Eval] {
        let graph = archive.graph(mode);
        let _ = (
            graph.changes(),
            graph.draws(),
            graph.nodes_of_mode().count(),
        );
        let known = graph.nodes.iter().flat_map(pt2::Node::reads);
        assert!(
            known
                .chain([graph.output])
                .all(|id| id.index() < graph.values.len())
        );
        for at in 0..graph.constants.len() {
            archive.read_constant(mode, at)?;
        }
    }
    let mut state = Vec::new();
    for (at, parameter) in archive.parameters().iter().enumerate() {
        state.push((parameter.name.clone(), archive.read_parameter(at)?));
    }
    for (at, buffer) in archive.buffers().iter().enumerate() {
        state.push((buffer.name.clone(), archive.read_buffer(at)?));
    }
    Ok(state)
}

/// A zip file of these records, as they are, with this before their names.
pub(super) fn zip(folder: &str, records: &[(String, &[u8])]) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, contents) in records {
        let name = format!("{folder}{name}");
        // Between two marks stands a line's end, which is none of the record's.
        let contents = contents.strip_suffix(b"\n").unwrap_or(contents);
        let mut crc = Crc::new();
        crc.update(contents);
        let mut fields = vec![0; 8];
        fields.extend(crc.sum().to_le_bytes());
        fields.extend((contents.len() as u32).to_le_bytes());
        fields.extend((contents.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        list.extend([b"PK\x01\x02\0\0\0\0", fields.as_slice(), &[0; 12]].concat());
        list.extend((file.len() as u32).to_le_bytes());
        list.extend(name.as_bytes());
        file.extend(
            [
                b"PK\x03\x04\0\0",
                fields.as_slice(),
                &[0; 2],
                name.as_bytes(),
                contents,
            ]
            .concat(),
        );
    }
    let count = (records.len() as u16).to_le_bytes();
    let (length, start) = (
        (list.len() as u32).to_le_bytes(),
        (file.len() as u32).to_le_bytes(),
    );
    [
        file.as_slice(),
        &list,
        b"PK\x05\x06\0\0\0\0",
        &count,
        &count,
        &length,
        &start,
        &[0; 2],
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_begin_at_archives_that_are_read() {
        for (name, bytes) in crate::corpus::inputs("pt2").expect("the corpus is there") {
            let archive = Archive::from_bytes(Path::new(&name), zipped(&bytes));
            let state = archive.and_then(|archive| read(&archive));
            assert!(state.is_ok_and(|state| !state.is_empty()), "{name}");
        }
    }
}
