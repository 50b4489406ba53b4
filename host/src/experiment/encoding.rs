//! Files that an editor saved in another encoding than UTF-8.

/// The text of a file.
///
/// # Errors
/// What the bytes look like, and what to do.
pub(super) fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    if let Some(name) = utf16(&bytes) {
        return Err(format!(
            "it looks like {name}, expected UTF-8; {}",
            save_as_utf8("UTF-16")
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes[..place].iter().filter(|it| **it == b'\n').count();
        let byte = bytes[place];
        // The letters of Latin-1 are the first ones of Unicode; from 0x80 to 0x9f it has none, but
        // Windows-1252 has.
        let looks = match byte {
            0x80..=0x9f => "it may be Windows-1252".to_owned(),
            _ => format!(
                "it looks like Latin-1, where this is `{}`",
                char::from(byte)
            ),
        };
        let name = if byte < 0xa0 {
            "WINDOWS-1252"
        } else {
            "LATIN1"
        };
        format!(
            "the byte 0x{byte:02x} in line {line} is no UTF-8; {looks}; {}",
            save_as_utf8(name)
        )
    })
}

/// The name of the kind of UTF-16 that these bytes are. Where there is no mark in front, ASCII has a zero
/// in every second byte, and no experiment file in UTF-8 has any.
fn utf16(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [1..=255, 0, 1..=255, 0, ..] => Some("UTF-16 (little endian)"),
        [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] => Some("UTF-16 (big endian)"),
        _ => None,
    }
}

fn save_as_utf8(from: &str) -> String {
    format!(
        "save it as UTF-8 in the editor, or write a new file with `iconv -f {from} -t UTF-8 FILE > NEW`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Trägheit\nname = \"lrr\"\n";

    #[test]
    fn utf8_is_taken_as_it_is() {
        assert_eq!(utf8(TEXT.into()).unwrap(), TEXT);
        assert_eq!(utf8(Vec::new()).unwrap(), "");
        // A zero alone is TOML's to refuse.
        assert!(utf8(b"name = \"a\0\"".to_vec()).is_ok());
    }

    #[test]
    fn utf16_is_named_with_and_without_a_mark() {
        let units = || TEXT.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for (mark, bytes, expected) in [
            (&[0xff, 0xfe][..], &little, "UTF-16 (little endian)"),
            (&[], &little, "UTF-16 (little endian)"),
            (&[0xfe, 0xff], &big, "UTF-16 (big endian)"),
            (&[], &big, "UTF-16 (big endian)"),
        ] {
            let said = utf8([mark, bytes].concat()).unwrap_err();
            assert!(said.contains(expected), "{said}");
            assert!(said.contains("`iconv -f UTF-16 -t UTF-8 FILE > NEW`"));
        }
    }

    #[test]
    fn latin1_is_named_with_its_line_and_letter() {
        let latin: Vec<u8> = TEXT.chars().map(|c| c as u8).collect();
        let said = utf8([b"\n", &latin[..]].concat()).unwrap_err();
        assert!(said.starts_with("the byte 0xe4 in line 2 is no UTF-8; it looks like Latin-1"));
        assert!(
            said.contains("this is `ä`") && said.contains("-f LATIN1"),
            "{said}"
        );
        let said = utf8(b"title = \"5 \x80\"".to_vec()).unwrap_err();
        assert!(said.contains("-f WINDOWS-1252"), "{said}");
    }
}
