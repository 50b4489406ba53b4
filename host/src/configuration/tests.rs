use super::*;

fn folder(path: &str) -> Trusted {
    Trusted::Folder(TrustedFolder {
        folder: path.into(),
    })
}

fn file(digit: &str) -> Trusted {
    Trusted::File(TrustedFile {
        blake3: digit.repeat(64),
        file: Some("/a/libmine.so".into()),
    })
}

fn trusted(path: &Path) -> Vec<Trusted> {
    Configuration::read(path).unwrap().plugins.trusted
}

#[test]
fn an_entry_comes_and_goes_and_the_rest_of_the_file_stays() {
    let desk = tempfile::tempdir().unwrap();
    let path = desk.path().join("deep/config.toml");
    assert_eq!(trusted(&path), []);
    assert!(trust(&path, &folder("/home/me/mine/target")).unwrap());
    assert!(!trust(&path, &folder("/home/me/mine/target")).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("# my own words\n{text}")).unwrap();
    assert!(trust(&path, &file("a")).unwrap());
    assert!(trust(&path, &file("b")).unwrap());
    let all = [folder("/home/me/mine/target"), file("a"), file("b")];
    assert_eq!(trusted(&path), all);
    let gone = distrust(&path, |it| *it == file("a")).unwrap();
    assert_eq!(gone, [file("a")]);
    assert_eq!(trusted(&path), [all[0].clone(), all[2].clone()]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# my own words\n"), "{text}");
    assert!(distrust(&path, |it| *it == file("a")).unwrap().is_empty());
}

#[test]
fn a_list_that_was_written_on_a_line_is_added_to() {
    let desk = tempfile::tempdir().unwrap();
    let path = desk.path().join("config.toml");
    std::fs::write(&path, "[plugins]\ntrusted = [{ folder = \"/a\" }]\n").unwrap();
    trust(&path, &folder("/b")).unwrap();
    assert_eq!(trusted(&path), [folder("/a"), folder("/b")]);
    distrust(&path, |it| *it == folder("/a")).unwrap();
    assert_eq!(trusted(&path), [folder("/b")]);
}

#[test]
fn a_mistake_is_shown_at_its_place_and_the_file_is_left_alone() {
    let desk = tempfile::tempdir().unwrap();
    let path = desk.path().join("config.toml");
    for (text, says) in [
        ("[plugin]\n", "unknown key `plugin`"),
        ("[plugins]\ntrused = []\n", "did you mean `trusted`?"),
        ("[[plugins.trusted]]\nfolder = 3\n", "config.toml:2:10"),
        ("[[plugins.trusted]]\nfolder = \"a\"\n", "config.toml:2:10"),
        ("[[plugins.trusted]]\nblake3 = \"7f\"\n", "config.toml:2:10"),
        (
            "[[plugins.trusted]]\nfolder = \"/a\"\nblake = \"7f\"\n",
            "blake",
        ),
        ("[plugins\n", "config.toml:1"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Configuration::read(&path).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert!(trust(&path, &folder("/b")).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn what_everybody_may_write_to_says_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let desk = tempfile::tempdir().unwrap();
    let path = desk.path().join("config.toml");
    trust(&path, &folder("/a")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = Configuration::read(&path).unwrap_err().to_string();
    assert!(error.contains("chmod o-w"), "{error}");
    assert!(trust(&path, &folder("/b")).is_err());
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let desk = tempfile::tempdir().unwrap();
    let (link, real) = (
        desk.path().join("config.toml"),
        desk.path().join("dotfiles.toml"),
    );
    std::fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    trust(&link, &folder("/a")).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(trusted(&real), [folder("/a")]);
}
