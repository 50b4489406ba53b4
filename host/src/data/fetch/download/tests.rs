use super::super::server::Server;
use super::*;

const FILE: &str = "/toy/a.bin";

fn contents() -> Vec<u8> {
    (0..300_000u32).map(|i| (i * i / 11) as u8).collect()
}

fn sha256(contents: &[u8]) -> &'static str {
    Box::leak(format!("{:x}", Sha256::digest(contents)).into_boxed_str())
}

struct Case {
    folder: tempfile::TempDir,
    server: Server,
}

impl Case {
    fn new(server: Server) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            server,
        }
    }

    fn download(&self) -> Download {
        Download {
            url: format!("{}{FILE}", self.server.address),
            path: self.folder.path().join("a.bin"),
            sha256: sha256(&contents()),
            limit: 1 << 20,
            attempts: 3,
            pause: Duration::from_millis(1),
            by_hand: "put it there".to_owned(),
        }
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("a.bin.part")
    }

    fn run(&self) -> Result<u64, DataError> {
        self.download().run(&mut |_, _| {})
    }

    /// The file is there and nothing else is.
    fn assert_done(&self) {
        assert_eq!(fs::read(self.download().path).unwrap(), contents());
        assert!(!self.part().exists());
    }

    fn ranges(&self) -> Vec<Option<u64>> {
        self.server.requests().iter().map(|r| r.from).collect()
    }
}

fn server() -> Server {
    Server::start(&[(FILE, &contents())])
}

#[test]
fn downloads_a_whole_file_and_reports_its_progress() {
    let case = Case::new(server());
    let mut seen = Vec::new();
    let size = case
        .download()
        .run(&mut |done, total| seen.push((done, total)));
    assert_eq!(size.unwrap(), 300_000);
    case.assert_done();
    assert_eq!(seen[0], (0, Some(300_000)));
    assert_eq!(*seen.last().unwrap(), (300_000, Some(300_000)));
    assert!(seen.is_sorted());
    assert_eq!(case.run().unwrap(), 300_000);
    assert_eq!(
        case.ranges(),
        [None],
        "a file that is there is not asked for"
    );
}

#[test]
fn resumes_after_a_cut_where_it_stopped() {
    let case = Case::new(server().cut_first_at(123_456));
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [None, Some(123_456)]);
}

#[test]
fn resumes_what_an_earlier_process_left() {
    let case = Case::new(server());
    fs::write(case.part(), &contents()[..200_000]).unwrap();
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [Some(200_000)]);
}

#[test]
fn a_complete_part_needs_no_more_bytes() {
    let case = Case::new(server());
    fs::write(case.part(), contents()).unwrap();
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [Some(300_000)]);
}

#[test]
fn starts_again_where_the_part_is_of_another_version() {
    let case = Case::new(server());
    fs::write(case.part(), vec![0; 1000]).unwrap();
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [Some(1000), None]);

    let case = Case::new(server());
    fs::write(case.part(), vec![0; 400_000]).unwrap();
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [Some(400_000), None]);
}

#[test]
fn a_server_that_ignores_ranges_sends_the_whole_file() {
    let case = Case::new(server().without_ranges());
    fs::write(case.part(), &contents()[..200_000]).unwrap();
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [Some(200_000)]);
}

#[test]
fn a_wrong_digest_is_an_error_and_leaves_nothing() {
    let case = Case::new(Server::start(&[(FILE, b"something else")]));
    let message = case.run().unwrap_err().to_string();
    for part in [
        case.download().url.as_str(),
        sha256(b"something else"),
        sha256(&contents()),
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 0);
    assert_eq!(case.ranges(), [None]);
}

#[test]
fn an_absent_file_is_not_asked_for_twice() {
    let case = Case::new(Server::start(&[]));
    let message = case.run().unwrap_err().to_string();
    assert!(
        message.contains("the server answered 404 Not Found; by hand: put it there"),
        "{message}"
    );
    assert_eq!(case.ranges(), [None]);
    assert!(!case.part().exists());
}

#[test]
fn an_overloaded_server_is_asked_again_but_not_for_ever() {
    let case = Case::new(server().busy(2));
    case.run().unwrap();
    case.assert_done();
    assert_eq!(case.ranges(), [None; 3]);

    let case = Case::new(server().busy(99));
    let message = case.run().unwrap_err().to_string();
    assert!(
        message.contains("503 Service Unavailable (3 attempts)"),
        "{message}"
    );
    assert_eq!(case.ranges(), [None; 3]);
}

#[test]
fn a_file_over_the_limit_is_cut_off() {
    let case = Case::new(server());
    let download = Download {
        limit: 1000,
        ..case.download()
    };
    let message = download.run(&mut |_, _| {}).unwrap_err().to_string();
    assert!(message.contains("it is over 1000 bytes"), "{message}");
    assert!(!case.part().exists());
}

#[test]
fn two_processes_do_not_write_the_same_file() {
    let case = Case::new(server());
    let other = case.download().lock(&case.part()).unwrap();
    let busy =
        |result| matches!(result, Err(DataError::Busy { pid, .. }) if pid == std::process::id());
    assert!(busy(case.run()));
    other.remove().unwrap();
    case.run().unwrap();
    // Nothing of the lock is left.
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 1);
}
