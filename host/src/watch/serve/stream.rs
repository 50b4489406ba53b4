//! Changes as server-sent events: one event for each piece of them.

use std::io::{self, Write};
use std::time::Duration;

use super::super::board::{Board, Changes};
use super::response::head;

/// A browser that is gone is found out within this time, and a page whose server is gone, too.
const BEAT: Duration = Duration::from_secs(10);

/// Items in an event: what is shown first need not wait for the rest.
const PIECE: usize = 400;

/// Sends what changed since a version, and what changes from then on, until the other side is gone or the board is
/// closed.
///
/// # Errors
/// If the other side is gone.
pub fn send(board: &Board, mut since: u64, stream: &mut impl Write) -> io::Result<()> {
    stream.write_all(head(200, "text/event-stream", "").as_bytes())?;
    stream.flush()?;
    while !board.is_closed() {
        let changes = board.changes(since, BEAT);
        if changes.items.is_empty() && changes.gone.is_empty() {
            stream.write_all(b":\n\n")?;
        } else {
            for event in events(&changes, since) {
                stream.write_all(event.as_bytes())?;
            }
        }
        stream.flush()?;
        since = changes.version;
    }
    Ok(())
}

/// The events of some changes. Whoever is cut off between two of them has seen no more than the version before.
fn events(changes: &Changes, since: u64) -> Vec<String> {
    let pieces = changes.items.len().div_ceil(PIECE).max(1);
    let event = |place: usize| {
        let (first, last) = (place == 0, place + 1 == pieces);
        let items = changes.items.iter().skip(place * PIECE).take(PIECE);
        let items: Vec<&str> = items.map(|it| &**it).collect();
        let gone = match first {
            true => serde_json::to_string(&changes.gone).unwrap_or_default(),
            false => "[]".to_owned(),
        };
        let version = match (last, changes.whole) {
            (true, _) => changes.version,
            (false, true) => 0,
            (false, false) => since,
        };
        format!(
            "data: {{\"version\":{version},\"whole\":{},\"items\":[{}],\"gone\":{gone}}}\n\n",
            first && changes.whole,
            items.join(",")
        )
    };
    (0..pieces).map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn many_items_come_in_pieces_of_which_the_last_alone_has_the_new_version() {
        let changes = Changes {
            version: 7,
            whole: true,
            items: (0..=PIECE).map(|it| it.to_string().into()).collect(),
            gone: vec!["run/a\nb".to_owned()],
        };
        let events = events(&changes, 3);
        let read = |event: &String| -> Value {
            let line = event
                .strip_prefix("data: ")
                .unwrap()
                .strip_suffix("\n\n")
                .unwrap();
            assert!(!line.contains('\n'));
            serde_json::from_str(line).unwrap()
        };
        let read: Vec<Value> = events.iter().map(read).collect();
        let lengths: Vec<usize> = read
            .iter()
            .map(|it| it["items"].as_array().unwrap().len())
            .collect();
        assert_eq!(lengths, [PIECE, 1]);
        assert_eq!(
            (&read[0]["version"], &read[0]["whole"]),
            (&0.into(), &true.into())
        );
        assert_eq!(
            (&read[1]["version"], &read[1]["whole"]),
            (&7.into(), &false.into())
        );
        assert_eq!(read[0]["gone"][0], "run/a\nb");
        assert!(read[1]["gone"].as_array().unwrap().is_empty());
    }
}
