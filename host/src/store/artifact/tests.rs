use super::*;

#[test]
fn tensors_come_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/end.safetensors");
    let values = [0.1f32, -0.0, f32::MIN_POSITIVE, f32::NAN, 3.0, -7.5];
    let tensors = vec![
        (
            "fc.weight".to_owned(),
            Tensor::from_slice(&values).view([2, 3]),
        ),
        ("steps".to_owned(), Tensor::from_slice(&[7i64])),
        ("mask".to_owned(), Tensor::from_slice(&[1u8, 0, 1])),
        (
            "transposed".to_owned(),
            Tensor::from_slice(&values).view([2, 3]).tr(),
        ),
    ];
    write_tensors(&path, &tensors).unwrap();
    let read = read_tensors(&path).unwrap();
    assert!(read.is_sorted_by_key(|(name, _)| name.clone()));
    let read: std::collections::BTreeMap<_, _> = read.into_iter().collect();
    assert_eq!(read.len(), tensors.len());
    let bits = |t: &Tensor| -> Vec<u32> {
        Vec::<f32>::try_from(&t.contiguous().flatten(0, -1))
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect()
    };
    assert_eq!(bits(&read["fc.weight"]), bits(&tensors[0].1));
    assert_eq!(bits(&read["transposed"]), bits(&tensors[3].1));
    assert_eq!(read["transposed"].size(), [3, 2]);
    assert_eq!(read["steps"].int64_value(&[0]), 7);
    assert_eq!(read["mask"].kind(), Kind::Uint8);
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("end.safetensors");
    write_tensors(
        &path,
        &[("w".to_owned(), Tensor::from_slice(&[1.0f32, 2.0]))],
    )
    .unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read_tensors(&path).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{} is damaged", path.display())),
            "{error}"
        );
    }
}

#[test]
fn what_is_written_under_a_lock_has_a_sibling_of_its_own_until_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("end.safetensors");
    let lock = lock::Lock::take(&folder.path().join("lock")).unwrap();
    // What another process has under way.
    let other = folder.path().join("end.safetensors.0badcafe.tmp");
    for name in ["end.safetensors.tmp", "end.tmp", "notes.txt"] {
        fs::write(folder.path().join(name), b"other").unwrap();
    }
    fs::write(&other, b"hal").unwrap();
    write(&path, b"whole").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(fs::read(&other).unwrap(), b"hal");
    tidy(folder.path());
    assert!(!other.exists());
    drop(lock);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
}

#[test]
fn without_a_lock_who_is_done_removes_what_others_left_of_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.json.0badcafe.tmp", "a.json.tmp", "b.json.0badcafe.tmp"];
    for name in names {
        fs::write(folder.path().join(name), b"hal").unwrap();
    }
    let left = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    };
    write(&folder.path().join("a.json"), b"whole").unwrap();
    assert_eq!(left(), ["a.json", "a.json.tmp", "b.json.0badcafe.tmp"]);
    remove(&folder.path().join("b.json")).unwrap();
    assert_eq!(left(), ["a.json", "a.json.tmp"]);
}

#[test]
fn many_who_write_one_file_at_once_leave_it_whole_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let own = std::env::current_exe().unwrap();
    let test = "store::artifact::tests::one_of_many_who_write";
    let start = |byte: usize| {
        let mut command = std::process::Command::new(&own);
        command.args(["--exact", test, "--quiet"]);
        command.env("WRITES", &path).env("BYTE", byte.to_string());
        command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let others: Vec<_> = (0..4).map(start).collect();
    for mut other in others {
        while other.try_wait().unwrap().is_none() {
            if let Ok(bytes) = fs::read(&path) {
                assert_eq!(bytes.len(), LENGTH);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            }
        }
        assert!(other.wait_with_output().unwrap().status.success());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Bytes of the file that many write.
const LENGTH: usize = 100_000;

/// What the processes of the test above do; by itself nothing.
#[test]
fn one_of_many_who_write() {
    let Some(path) = std::env::var_os("WRITES") else {
        return;
    };
    let byte: u8 = std::env::var("BYTE").unwrap().parse().unwrap();
    for _ in 0..50 {
        write(Path::new(&path), &[byte; LENGTH]).unwrap();
    }
}

#[test]
fn a_refreshed_folder_has_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["lock/000001/owner.json", "seed-0/level-00/done.json"] {
        write(&folder.path().join(file), b"{}").unwrap();
    }
    let changed = |name: &str| {
        let folder = folder.path().join(name);
        (
            folder.metadata().unwrap().modified().unwrap(),
            fs::read_dir(folder).unwrap().count(),
        )
    };
    let names = ["", "lock", "lock/000001", "seed-0", "seed-0/level-00"];
    let before = names.map(changed);
    refresh(folder.path());
    refresh(&folder.path().join("none"));
    let after = names.map(changed);
    for (at, (before, after)) in before.iter().zip(after).enumerate() {
        assert_eq!(before.1, after.1);
        assert_eq!(
            before.0 == after.0,
            names[at].starts_with("lock"),
            "{}",
            names[at]
        );
    }
}

#[test]
fn a_failed_write_names_path_and_bytes_and_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("end");
    write(&path, b"old").unwrap();
    let sibling = format!("end.{}.tmp", lock::mark());
    fs::create_dir(folder.path().join(sibling)).unwrap();
    let error = write(&path, b"new!").unwrap_err().to_string();
    assert!(
        error.contains(&format!("failed to write {} (4 bytes)", path.display())),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"old");
}
