//! Each target reads its corpus, with every past crash in it, and mutations of it: the same ones each
//! time. `FUZZ_MUTATIONS` multiplies their number, `FUZZ_SEED` gives other ones.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use fuzz::meter::{self, Meter};
use fuzz::mutate::Mutator;
use fuzz::{TARGETS, Target, corpus, target};

#[global_allocator]
static METER: Meter = Meter;

/// An input takes milliseconds; on a busy machine more, but never this long.
const LONGEST: Duration = Duration::from_secs(20);

/// What is allocated counts for the whole process, so targets are fed one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts panics, those that the host catches too.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.with(|count| count.set(count.get() + 1));
            before(panic);
        }));
    });
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().unwrap())
}

/// Keeps the input that is being read: if it ends the process, or never ends, it can be found.
struct Watch {
    file: PathBuf,
    /// Milliseconds since the start at which the input was begun, and 0 between inputs.
    begun: Arc<AtomicU64>,
    start: Instant,
}

impl Watch {
    fn new(target: &'static str) -> Self {
        let file = std::env::temp_dir().join(format!("fuzz-{target}-{}", std::process::id()));
        let begun = Arc::new(AtomicU64::new(0));
        let (seen, start, shown) = (begun.clone(), Instant::now(), file.clone());
        std::thread::spawn(move || {
            while Arc::strong_count(&seen) > 1 {
                std::thread::sleep(Duration::from_millis(200));
                let begun = seen.load(SeqCst);
                let now = start.elapsed().as_millis() as u64;
                if begun > 0 && now.saturating_sub(begun) > 3 * LONGEST.as_millis() as u64 {
                    eprintln!("{target} does not end with the input {}", shown.display());
                    std::process::abort();
                }
            }
        });
        Self { file, begun, start }
    }

    fn begin(&self, input: &[u8]) {
        fs::write(&self.file, input).unwrap();
        self.begun
            .store(self.start.elapsed().as_millis() as u64 + 1, SeqCst);
    }

    fn end(&self) {
        self.begun.store(0, SeqCst);
    }
}

/// Reads one input; what is wrong with that, if anything is.
fn read(target: &Target, input: &[u8]) -> Result<(), String> {
    PANICS.with(|count| count.set(0));
    let before = Instant::now();
    let read = || panic::catch_unwind(AssertUnwindSafe(|| (target.read)(input)));
    let (result, peak) = meter::peak(read);
    let took = before.elapsed();
    if result.is_err() || PANICS.with(Cell::get) > 0 {
        return Err("it panics, as said above".to_owned());
    }
    if took > LONGEST {
        return Err(format!("it takes {took:?}, expected at most {LONGEST:?}"));
    }
    if peak > target.memory << 20 {
        let (peak, most) = (peak >> 20, target.memory);
        return Err(format!("it allocates {peak} MiB, expected at most {most}"));
    }
    Ok(())
}

/// Feeds a target with its corpus and with mutations.
fn feed(name: &str) {
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|held| held.into_inner());
    count_panics();
    let target = target(name).unwrap();
    let corpus = corpus::inputs(name).unwrap();
    assert!(corpus.len() > 2, "{name} has no corpus");
    let watch = Watch::new(target.name);
    let check = |input: &[u8], which: &str| {
        watch.begin(input);
        let result = read(target, input);
        watch.end();
        if let Err(reason) = result {
            panic!(
                "{name}, {which}: {reason}; the input is {}",
                watch.file.display()
            );
        }
    };
    for (file, input) in &corpus {
        check(input, file);
    }
    let mut mutator = Mutator::new(number("FUZZ_SEED", 0), target.dictionary);
    let mutations = u64::from(target.mutations) * number("FUZZ_MUTATIONS", 1);
    let before = Instant::now();
    for at in 0..mutations {
        check(&mutator.next(&corpus), &format!("mutation {at}"));
    }
    println!("{name}: {mutations} mutations in {:.1?}", before.elapsed());
    fs::remove_file(&watch.file).unwrap();
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                feed(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_fed() {
            let named: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(named, [$(stringify!($name)),*]);
        }
    };
}

targets! {
    experiment overrides texts idx cifar picture archive arrays pt2 inference tensors records report library manifest
    service
}

#[test]
fn a_panic_that_is_caught_far_too_much_memory_and_an_error_are_told_apart() {
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|held| held.into_inner());
    count_panics();
    let target = |read: fn(&[u8])| Target {
        name: "fake",
        read,
        dictionary: &[],
        mutations: 0,
        memory: 8,
    };
    let caught = target(|_| drop(panic::catch_unwind(|| panic!("on purpose"))));
    assert!(refusal(&caught).contains("it panics"));
    let greedy = target(|_| drop(std::hint::black_box(vec![1u8; 20 << 20])));
    assert!(refusal(&greedy).contains("allocates 20 MiB, expected at most 8"));
    assert_eq!(read(&target(|_| {}), b""), Ok(()));
}

fn refusal(target: &Target) -> String {
    read(target, b"").unwrap_err()
}
