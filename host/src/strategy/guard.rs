//! What a plugin's code may cost, and what is said when it takes the process down.
//!
//! A plugin runs in this process. An error, a panic or a wrong answer comes back as a value; what does
//! not come back is watched from here: a call that ends the process (a wild pointer, `abort`, `exit`,
//! a stack that overflows) and one that does not return or allocates without end. Either way the
//! process ends with the plugin exit code and a line that names the component, the seed and the
//! level. Nothing computed is lost: what is on disk is whole at any moment, and what is being written is waited for.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How often running calls are looked at.
const PATROL: Duration = Duration::from_millis(20);

/// How long the end of the process is put off for what other threads are writing.
const LAST_WRITES: Duration = Duration::from_secs(30);

/// Stands for how a call ended, until that is known.
const HOW: &str = "@HOW@";

/// What one call of a component may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Time until it has to return.
    pub time: Option<Duration>,
    /// Bytes by which the process may grow meanwhile.
    pub memory: Option<u64>,
}

/// How a line for the user is made of a message, and the exit code behind it.
#[derive(Clone)]
pub struct Farewell {
    /// The line.
    pub line: fn(&str) -> String,
    /// The exit code.
    pub exit: c_int,
    /// What is said when something else in the process aborts it or exits, and does not return, or
    /// reads nowhere while memory is limited: memory or threads that a library cannot do without.
    pub own: String,
    /// The exit code then.
    pub own_exit: c_int,
}

struct Guard {
    limits: Limits,
    farewell: Farewell,
}

static GUARD: OnceLock<Guard> = OnceLock::new();

/// The line of the call that runs, around how it ends; null outside calls. Read by signal handlers.
static LINE: AtomicPtr<Line> = AtomicPtr::new(null_mut());

struct Line {
    before: String,
    after: String,
}

struct Running {
    line: *mut Line,
    since: Instant,
    memory: u64,
}

// SAFETY: the line is only read through `LINE` and freed by the call that made it.
unsafe impl Send for Running {}

static CALLS: Mutex<BTreeMap<u64, Running>> = Mutex::new(BTreeMap::new());

fn calls() -> MutexGuard<'static, BTreeMap<u64, Running>> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches all calls of this process from now on; only the first time says how.
pub fn watch(limits: Limits, farewell: Farewell) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = GUARD.set(Guard { limits, farewell });
        for signal in FATAL {
            // SAFETY: the handler only does what signal handlers may.
            unsafe { listen(signal) };
        }
        // SAFETY: the function outlives the process.
        unsafe { libc::atexit(at_exit) };
        if limits != Limits::default() {
            std::thread::spawn(move || {
                loop {
                    std::thread::sleep(PATROL);
                    patrol(limits);
                }
            });
        }
    });
}

/// What one call of a component may cost in this process.
pub fn limits() -> Limits {
    GUARD.get().map(|guard| guard.limits).unwrap_or_default()
}

/// A call into a plugin, from when it is made to when it is dropped. Where several threads have one,
/// the last to begin is held responsible for a signal.
pub struct Call {
    number: u64,
}

impl Call {
    /// Says who is called, such as "score component `x` of plugin `y`", and where.
    pub fn enter(who: &str, place: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let message = format!("{who} {HOW}{place}");
        let whole = match GUARD.get() {
            Some(guard) => (guard.farewell.line)(&message),
            None => message,
        };
        let (before, after) = whole.split_once(HOW).unwrap_or((&whole, ""));
        let line = Box::into_raw(Box::new(Line {
            before: before.to_owned(),
            after: format!("{after}\n"),
        }));
        let limited = GUARD.get().is_some_and(|it| it.limits.memory.is_some());
        let running = Running {
            line,
            since: Instant::now(),
            memory: if limited { resident().unwrap_or(0) } else { 0 },
        };
        calls().insert(number, running);
        LINE.store(line, Ordering::Release);
        Self { number }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Calls of other threads may have come since; then the line stays theirs.
        if let Some(running) = calls().remove(&self.number) {
            let (own, none) = (running.line, null_mut());
            let _ = LINE.compare_exchange(own, none, Ordering::AcqRel, Ordering::Relaxed);
            // SAFETY: made by `enter`, and nobody finds it any more.
            drop(unsafe { Box::from_raw(running.line) });
        }
    }
}

/// A plugin's object, whose end is a call, too.
pub struct Watched<T> {
    who: String,
    object: ManuallyDrop<T>,
}

impl<T> Watched<T> {
    /// The object of a component, described as for [`Call::enter`].
    pub fn new(who: String, object: T) -> Self {
        Self {
            who,
            object: ManuallyDrop::new(object),
        }
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.object
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        let _call = Call::enter(&self.who, "");
        // SAFETY: dropped here and nowhere else.
        unsafe { ManuallyDrop::drop(&mut self.object) };
    }
}

/// Ends the process if a call costs more than it may.
fn patrol(limits: Limits) {
    let calls = calls();
    for running in calls.values() {
        let late = limits.time.filter(|limit| running.since.elapsed() > *limit);
        if let Some(limit) = late {
            let limit = limit.as_secs_f64();
            // SAFETY: the call is under way as long as the calls are locked.
            unsafe { end(running.line, &format!("did not return within {limit} s")) };
        }
        let grown = || resident().unwrap_or(0).saturating_sub(running.memory);
        if let Some(limit) = limits.memory.filter(|limit| grown() > *limit) {
            let limit = limit as f64 / f64::from(1 << 30);
            // SAFETY: as above.
            unsafe { end(running.line, &format!("allocated more than {limit} GiB")) };
        }
    }
}

/// Says how a call ended and leaves, without running anything else.
unsafe fn end(line: *mut Line, how: &str) -> ! {
    // SAFETY: the caller promises that the line is there.
    let line = unsafe { &*line };
    let text = format!("{}{how}{}", line.before, line.after);
    let _ = std::io::stderr().write_all(text.as_bytes());
    leave_after_writes(exit_code())
}

fn exit_code() -> c_int {
    GUARD.get().map_or(1, |guard| guard.farewell.exit)
}

/// Threads that are writing what was computed.
static WRITING: AtomicUsize = AtomicUsize::new(0);

/// While it lives, a plugin that ends the process is held up until what was computed before is written.
pub struct Writing(());

impl Writing {
    /// Begins it.
    pub fn begin() -> Self {
        WRITING.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Leaves the process once the other threads have written what was computed; at once after some time, as the thread
/// that ends it may hold what they need. A signal handler may call it.
fn leave_after_writes(exit_code: c_int) -> ! {
    let nap = libc::timespec {
        tv_sec: 0,
        tv_nsec: PATROL.subsec_nanos().into(),
    };
    let mut naps = LAST_WRITES.as_millis() / PATROL.as_millis();
    while WRITING.load(Ordering::Acquire) > 0 && naps > 0 {
        naps -= 1;
        // SAFETY: it reads the time and writes nothing.
        unsafe { libc::nanosleep(&nap, null_mut()) };
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(exit_code) }
}

/// Memory that this process holds, in bytes; none where the system does not say.
pub fn resident() -> Option<u64> {
    resident_of("self")
}

/// The same of another process, by its number.
pub fn resident_of(process: &str) -> Option<u64> {
    // SAFETY: a question without arguments.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page)
}

/// Signals by which a process dies of its own doing.
const FATAL: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

fn name(signal: c_int) -> &'static str {
    match signal {
        libc::SIGSEGV => "ended the process: SIGSEGV",
        libc::SIGBUS => "ended the process: SIGBUS",
        libc::SIGILL => "ended the process: SIGILL",
        libc::SIGFPE => "ended the process: SIGFPE",
        libc::SIGABRT => "ended the process: SIGABRT",
        _ => "ended the process",
    }
}

/// What the handlers were before, by their place in [`FATAL`].
static BEFORE: OnceLock<Mutex<BTreeMap<c_int, usize>>> = OnceLock::new();

unsafe fn listen(signal: c_int) {
    // SAFETY: an all-zero sigaction is a valid one, and both are filled before they are used.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        // On a stack of its own: the plugin's may be the one that overflowed.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut before: Box<libc::sigaction> = Box::new(std::mem::zeroed());
        if libc::sigaction(signal, &action, &mut *before) == 0 {
            let known = BEFORE.get_or_init(Mutex::default);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(signal, Box::into_raw(before) as usize);
        }
    }
}

/// Says who ended the process, if a plugin did; else leaves it to who listened before.
extern "C" fn on_signal(signal: c_int, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let line = LINE.load(Ordering::Acquire);
    if !line.is_null() {
        // SAFETY: the line of a call under way, and `write` may be called here.
        unsafe {
            let line = &*line;
            for part in [line.before.as_str(), name(signal), line.after.as_str()] {
                libc::write(2, part.as_ptr().cast(), part.len());
            }
        }
        leave_after_writes(exit_code());
    }
    // Without memory for the code of a convolution oneDNN calls it all the same, at address 0.
    if signal == libc::SIGABRT || (signal == libc::SIGSEGV && is_limited()) {
        own_end();
    }
    // Back to what was there: the fault comes again as soon as this returns.
    let before = BEFORE.get().and_then(|known| known.try_lock().ok());
    if let Some(before) = before.and_then(|known| known.get(&signal).copied()) {
        // SAFETY: kept for this since `listen`.
        unsafe { libc::sigaction(signal, before as *const libc::sigaction, null_mut()) };
    }
}

extern "C" fn at_exit() {
    let line = LINE.load(Ordering::Acquire);
    if !line.is_null() {
        // SAFETY: the line of a call under way.
        unsafe { end(line, "ended the process by exit") };
    }
    own_end();
}

/// Whether the process may have only so much memory.
fn is_limited() -> bool {
    // SAFETY: a question that signal handlers may ask; an all-zero limit is one.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_AS, &mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY
    }
}

/// Ends the process in order. Destructors of globals are not run: libtorch's take half as long as loading it.
pub fn leave(exit_code: c_int) -> ! {
    // SAFETY: writes what C code, a plugin's for instance, left in its buffers; `exit` would too.
    unsafe {
        libc::fflush(null_mut());
        libc::_exit(exit_code)
    }
}

/// Ends a process that no plugin ended and that does not end in order.
fn own_end() {
    if let Some(guard) = GUARD.get() {
        let text = &guard.farewell.own;
        // SAFETY: `write` may be called here, and the text outlives the process.
        unsafe {
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::write(2, b"\n".as_ptr().cast(), 1);
        }
        leave_after_writes(guard.farewell.own_exit);
    }
}
