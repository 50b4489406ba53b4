use super::super::picture::tests::file;
use super::*;
use crate::data::picture::Format;

fn images(folder: &Path, room: u64) -> ImageFiles {
    let files = (0..6u8).map(|i| {
        let (name, format) = match i % 2 {
            0 => (format!("{i}.png"), Format::Png),
            _ => (format!("{i}.jpg"), Format::Jpeg),
        };
        let bytes = file(format, 20 + u32::from(i), 30 - u32::from(i), 40 * i);
        std::fs::write(folder.join(&name), bytes).unwrap();
        name.into_boxed_str()
    });
    let view = View {
        size: 12,
        resize: 14,
        crop: Some(ResizedCrop {
            flip: true,
            ..ResizedCrop::default()
        }),
    };
    ImageFiles::new(
        folder.to_owned(),
        files.collect(),
        Vec::new(),
        view,
        Shared::new(room),
    )
}

fn pick(sample: usize, epoch: u64) -> Pick {
    let drawn = Some(Draw {
        seed: 5,
        level: 1,
        epoch,
    });
    Pick { sample, drawn }
}

/// What is read, row-major.
fn bytes(images: &ImageFiles, picks: &[Pick]) -> Result<Vec<u8>, DataError> {
    let pixels = images.read(picks, Device::Cpu)?;
    assert_eq!(pixels.size(), [picks.len() as i64, 3, 12, 12]);
    Ok(Vec::try_from(pixels.flatten(0, 3)).unwrap())
}

#[test]
fn a_sample_looks_the_same_in_every_batch_and_with_any_room_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let length = 3 * 12 * 12;
    let all: Vec<Pick> = (0..6).map(|sample| pick(sample, 2)).collect();
    let expected = bytes(&images(folder.path(), 0), &all).unwrap();
    // Room for none, two and all of the pictures.
    for (room, fit) in [(0, 0), (4000, 2), (1 << 20, 6)] {
        let images = images(folder.path(), room);
        for _ in 0..2 {
            assert_eq!(bytes(&images, &all).unwrap(), expected);
            let turned = bytes(&images, &[all[4], all[1]]).unwrap();
            assert_eq!(turned[..length], expected[4 * length..5 * length]);
            assert_eq!(turned[length..], expected[length..2 * length]);
        }
        let kept = images.kept.iter().filter(|it| it.get().is_some()).count();
        assert_eq!(kept, fit);
    }
    let images = images(folder.path(), 0);
    assert_ne!(bytes(&images, &[pick(0, 3)]).unwrap(), expected[..length]);
    let middle = Pick {
        sample: 0,
        drawn: None,
    };
    assert_eq!(
        bytes(&images, &[middle]).unwrap(),
        bytes(&images, &[middle]).unwrap()
    );
    assert_ne!(bytes(&images, &[middle]).unwrap(), expected[..length]);
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<Pick> = (0..60).map(|i| pick(i % 6, i as u64 / 6)).collect();
    let read = |threads: usize| {
        let images = images(folder.path(), 3000);
        let pool = ThreadPoolBuilder::new().num_threads(threads);
        let set = images.shared.threads.set(Some(pool.build().unwrap()));
        assert!(set.is_ok());
        bytes(&images, &all).unwrap()
    };
    let one = read(1);
    assert_eq!(read(2), one);
    assert_eq!(read(7), one);
}

#[test]
fn a_file_that_is_damaged_after_it_was_listed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), 0);
    std::fs::write(folder.path().join("3.jpg"), "no longer").unwrap();
    let all: Vec<Pick> = (0..6).map(|sample| pick(sample, 0)).collect();
    let message = bytes(&images, &all).unwrap_err().to_string();
    assert!(
        message.contains("3.jpg") && message.contains("neither"),
        "{message}"
    );
    std::fs::remove_file(folder.path().join("3.jpg")).unwrap();
    let message = bytes(&images, &all).unwrap_err().to_string();
    assert!(
        message.starts_with("failed to read") && message.contains("3.jpg"),
        "{message}"
    );
}
