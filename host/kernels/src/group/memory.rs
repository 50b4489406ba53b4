//! Memory that processes of one machine share, through which they exchange tensors without sockets.
//!
//! Each process writes what it sends into a slot of its own, says that it did, waits for the others, and reads from
//! theirs. There are two slots of each, used by turns: who writes the next one may not be waited for any more, since
//! all were done with the slot before last when they said that they wrote the last.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::Store;
use crate::shim::ShimError;

/// Bytes of a slot: what is longer goes in pieces.
const SLOT: usize = 1 << 20;
/// Bytes apart from each other that two processes write without being in each other's way.
const APART: usize = 128;
/// Bytes by which memory is laid out.
const PAGE: usize = 4096;
/// How long to look for the others before sleeping: about as long as one shard takes longer than another.
const LOOK: Duration = Duration::from_micros(500);
/// How long to sleep before looking whether the others were given up.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a process says that reaches the memory.
const REACHED: &str = "reached";

/// Random numbers by which processes know that they have the same memory before them.
type Mark = [u8; 16];

/// The memory of `count` processes, if every one of them reaches it and is `willing`.
pub(super) fn meet(
    store: &Store,
    name: &str,
    (rank, count): (usize, usize),
    limit: Duration,
    willing: bool,
) -> Result<Option<Memory>, ShimError> {
    let (place, answer) = (format!("{name}/memory"), |rank: usize| {
        format!("{name}/memory/{rank}")
    });
    // The file lives until all have found it.
    let (memory, _file) = match rank {
        0 => {
            let made = willing.then(|| Memory::new(count, limit)).transpose();
            let made = made.unwrap_or_else(|error| {
                log::debug!("the ranks get no memory to share: {error}");
                None
            });
            store.set(&place, made.as_ref().map_or("", |(_, _, place)| place))?;
            made.map_or((None, None), |(memory, file, _)| (Some(memory), Some(file)))
        }
        _ => {
            let place = store.get(&place)?;
            let found = willing.then(|| Memory::find(&place, (rank, count), limit));
            (found.flatten(), None)
        }
    };
    store.set(&answer(rank), if memory.is_some() { REACHED } else { "" })?;
    for rank in 0..count {
        if store.get(&answer(rank))? != REACHED {
            log::debug!("rank {rank} shares no memory with the others: they exchange by Gloo");
            return Ok(None);
        }
    }
    log::debug!("the ranks share memory");
    Ok(memory)
}

/// The bytes of what is sent.
pub(super) fn bytes(tensor: &Tensor) -> Result<&[u8], ShimError> {
    let len = len_of(tensor)?;
    // SAFETY: a contiguous tensor has that many bytes from there on.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), len) })
}

/// The bytes of where it is received, which nothing else uses meanwhile.
pub(super) fn bytes_mut(tensor: &mut Tensor) -> Result<&mut [u8], ShimError> {
    let len = len_of(tensor)?;
    // SAFETY: as above.
    Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), len) })
}

fn len_of(tensor: &Tensor) -> Result<usize, ShimError> {
    match tensor.device() == Device::Cpu && tensor.is_contiguous() {
        true => Ok(tensor.numel() * tensor.kind().elt_size_in_bytes()),
        false => Err(ShimError::new(format!(
            "{tensor:?} is not contiguous on the CPU"
        ))),
    }
}

/// The memory, as one of the processes has it.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<u8>,
    len: usize,
    rank: usize,
    count: usize,
    limit: Duration,
    /// Rounds that this process has begun.
    round: AtomicU32,
}

// SAFETY: calls come from one thread at a time, as all processes must make them in one order; what the processes
// tell each other are atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// New memory for `count` processes, and how the others find it, while the file lives.
    pub fn new(count: usize, limit: Duration) -> std::io::Result<(Self, File, String)> {
        // SAFETY: the name is a text that ends with 0; the call gives a new descriptor, or an error.
        let descriptor = unsafe { libc::memfd_create(c"rewind".as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: it is new, and ours.
        let mut file = unsafe { File::from_raw_fd(descriptor) };
        // Taken now: who lacks a page later is killed.
        // SAFETY: the descriptor is open.
        let taken = unsafe { libc::posix_fallocate(descriptor, 0, length(count) as libc::off_t) };
        if taken != 0 {
            return Err(std::io::Error::from_raw_os_error(taken));
        }
        let mut mark = Mark::default();
        // SAFETY: it writes that many bytes.
        let got = unsafe { libc::getrandom(mark.as_mut_ptr().cast(), mark.len(), 0) };
        if got != mark.len() as isize {
            return Err(std::io::Error::last_os_error());
        }
        file.write_all(&mark)?;
        let memory = Self::map(&file, (0, count), limit)?;
        let path = format!("/proc/{}/fd/{descriptor}", std::process::id());
        Ok((memory, file, format!("{}:{path}", hex(&mark))))
    }

    /// What [`new`](Self::new) told how to find, if this process can reach it.
    pub fn find(place: &str, (rank, count): (usize, usize), limit: Duration) -> Option<Self> {
        let (mark, path) = place.split_once(':')?;
        // It may be anything where this is another machine.
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = options.custom_flags(libc::O_NONBLOCK).open(path).ok()?;
        let about = file.metadata().ok()?;
        let mut found = Mark::default();
        let same = about.is_file()
            && about.len() == length(count) as u64
            && file.read_exact_at(&mut found, 0).is_ok()
            && hex(&found) == mark;
        same.then(|| Self::map(&file, (rank, count), limit).ok())?
    }

    fn map(file: &File, (rank, count): (usize, usize), limit: Duration) -> std::io::Result<Self> {
        let len = length(count);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the system chooses where; the file has that length.
        let start = unsafe {
            let descriptor: c_int = file.as_raw_fd();
            libc::mmap(null_mut(), len, access, libc::MAP_SHARED, descriptor, 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(Self {
                start,
                len,
                rank,
                count,
                limit,
                round: AtomicU32::new(0),
            }),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    /// Sends part i of `from` to process i, and receives its part for this one as part i of `to`.
    pub fn exchange(
        &self,
        from: &[u8],
        to: &mut [u8],
        given_up: &AtomicBool,
    ) -> Result<(), ShimError> {
        let part = to.len() / self.count;
        self.in_pieces(part, SLOT / self.count, given_up, &mut |piece, slots| {
            for rank in 0..self.count {
                slots.write(
                    rank * piece.len,
                    &from[rank * part + piece.start..][..piece.len],
                );
            }
            slots.meet()?;
            for rank in 0..self.count {
                slots.read(
                    rank,
                    self.rank * piece.len,
                    &mut to[rank * part + piece.start..][..piece.len],
                );
            }
            Ok(())
        })
    }

    /// Receives what every process sends, in their order.
    pub fn gather(
        &self,
        from: &[u8],
        to: &mut [u8],
        given_up: &AtomicBool,
    ) -> Result<(), ShimError> {
        let part = from.len();
        self.in_pieces(part, SLOT, given_up, &mut |piece, slots| {
            slots.write(0, &from[piece.start..][..piece.len]);
            slots.meet()?;
            for rank in 0..self.count {
                slots.read(rank, 0, &mut to[rank * part + piece.start..][..piece.len]);
            }
            Ok(())
        })
    }

    /// A round for each piece of a part.
    fn in_pieces(
        &self,
        part: usize,
        most: usize,
        given_up: &AtomicBool,
        round: &mut dyn FnMut(Piece, Slots<'_>) -> Result<(), ShimError>,
    ) -> Result<(), ShimError> {
        let mut start = 0;
        while start < part {
            let len = most.min(part - start);
            let number = self.round.load(Ordering::Relaxed).wrapping_add(1);
            self.round.store(number, Ordering::Relaxed);
            let slots = Slots {
                memory: self,
                number,
                given_up,
            };
            round(Piece { start, len }, slots)?;
            start += len;
        }
        Ok(())
    }

    /// The last round for which this process has written.
    fn word(&self, rank: usize) -> &AtomicU32 {
        // SAFETY: it lies within the memory and is aligned; all processes use it as an atomic.
        unsafe { self.start.add(APART * (1 + rank)).cast().as_ref() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Where in a part a piece lies.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    len: usize,
}

/// The slots of all processes in one round.
#[derive(Clone, Copy)]
struct Slots<'a> {
    memory: &'a Memory,
    number: u32,
    given_up: &'a AtomicBool,
}

impl Slots<'_> {
    fn slot(&self, rank: usize, at: usize, len: usize) -> NonNull<u8> {
        assert!(
            rank < self.memory.count && at + len <= SLOT,
            "within a slot"
        );
        let place = 2 * rank + (self.number % 2) as usize;
        // SAFETY: all slots lie within the memory.
        unsafe {
            self.memory
                .start
                .add(head(self.memory.count) + place * SLOT + at)
        }
    }

    /// Writes into this process's own.
    fn write(&self, at: usize, bytes: &[u8]) {
        let to = self.slot(self.memory.rank, at, bytes.len());
        // SAFETY: `slot` checked the room; the others read it after they met this process, and are done with what
        // it held two rounds ago.
        unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// Reads from a process's, once all met.
    fn read(&self, rank: usize, at: usize, bytes: &mut [u8]) {
        let from = self.slot(rank, at, bytes.len());
        // SAFETY: `slot` checked the room; its process wrote it before it met this one, and writes there again
        // only after this one began the round after the next.
        unsafe { from.copy_to_nonoverlapping(NonNull::from(&mut *bytes).cast(), bytes.len()) };
    }

    /// Says that this process has written, and waits until all have.
    fn meet(&self) -> Result<(), ShimError> {
        let own = self.memory.word(self.memory.rank);
        own.store(self.number, Ordering::Release);
        wake(own);
        (0..self.memory.count).try_for_each(|rank| self.wait(self.memory.word(rank)))
    }

    fn wait(&self, word: &AtomicU32) -> Result<(), ShimError> {
        let since = Instant::now();
        loop {
            let seen = word.load(Ordering::Acquire);
            // They wrap.
            if seen.wrapping_sub(self.number) as i32 >= 0 {
                return Ok(());
            }
            if self.given_up.load(Ordering::Acquire) {
                return Err(ShimError::new("another process was given up".to_owned()));
            }
            match since.elapsed() {
                // Others may need this processor.
                waited if waited < LOOK => std::thread::yield_now(),
                waited if waited < self.memory.limit => sleep(word, seen),
                _ => {
                    let limit = self.memory.limit.as_secs_f64();
                    let text = format!("another process sent nothing for {limit} s");
                    return Err(ShimError::new(text));
                }
            }
        }
    }
}

/// Sleeps until somebody wakes who waits for this word, unless it is no longer what was seen.
fn sleep(word: &AtomicU32, seen: u32) {
    let patience = libc::timespec {
        tv_sec: PATIENCE.as_secs() as libc::time_t,
        tv_nsec: PATIENCE.subsec_nanos().into(),
    };
    // SAFETY: the word and the time outlive the call. Whatever it answers, the word is read again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            &raw const patience,
        );
    }
}

/// Wakes all who wait for this word.
fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Bytes before the slots.
fn head(count: usize) -> usize {
    (APART * (1 + count)).next_multiple_of(PAGE)
}

/// Bytes of the memory of so many processes.
fn length(count: usize) -> usize {
    head(count) + 2 * count * SLOT
}

fn hex(mark: &Mark) -> String {
    mark.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// The memory as each of so many processes has it.
    fn memories(count: usize, limit: Duration) -> Vec<Memory> {
        let (first, _file, place) = Memory::new(count, limit).unwrap();
        let others = (1..count).map(|rank| Memory::find(&place, (rank, count), limit).unwrap());
        std::iter::once(first).chain(others).collect()
    }

    /// What a process sends, told by its rank, the round and the place.
    fn bytes(rank: usize, round: usize, len: usize) -> Vec<u8> {
        let byte = |at: usize| (at * 31 + rank * 7 + round * 101 + at / SLOT) as u8;
        (0..len).map(byte).collect()
    }

    #[test]
    fn everybody_receives_what_was_sent_whatever_its_length() {
        for count in [1, 2, 3, 5] {
            let given_up = AtomicBool::new(false);
            let lengths = [0, 1, 12, 4096, SLOT - 1, SLOT, SLOT + 1, 2 * SLOT + 5];
            std::thread::scope(|scope| {
                for (rank, memory) in memories(count, LIMIT).into_iter().enumerate() {
                    let given_up = &given_up;
                    scope.spawn(move || {
                        for (round, len) in lengths.into_iter().cycle().take(16).enumerate() {
                            let own = bytes(rank, round, len * count);
                            let mut got = vec![0; len * count];
                            memory.exchange(&own, &mut got, given_up).unwrap();
                            let parts = |of: usize| {
                                bytes(of, round, len * count)[rank * len..][..len].to_vec()
                            };
                            assert!(got == (0..count).flat_map(parts).collect::<Vec<_>>());
                            let mut all = vec![0; len * count];
                            memory.gather(&own[..len], &mut all, given_up).unwrap();
                            let sent = |of: usize| bytes(of, round, len * count)[..len].to_vec();
                            assert!(all == (0..count).flat_map(sent).collect::<Vec<_>>());
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn who_is_missed_is_given_up_or_waited_for_until_the_limit() {
        let mut two = memories(2, Duration::from_millis(700));
        let one = two.remove(0);
        let (given_up, mut all) = (AtomicBool::new(false), [0; 8]);
        let late = one.gather(&[1; 4], &mut all, &given_up).unwrap_err();
        assert!(
            late.to_string().contains("sent nothing for 0.7 s"),
            "{late}"
        );
        given_up.store(true, Ordering::Release);
        let lost = one.gather(&[1; 4], &mut all, &given_up).unwrap_err();
        assert!(lost.to_string().contains("given up"), "{lost}");
    }

    #[test]
    fn memory_that_is_not_the_same_is_not_found() {
        let (_memory, _file, place) = Memory::new(2, LIMIT).unwrap();
        assert!(Memory::find(&place, (1, 2), LIMIT).is_some());
        assert!(Memory::find(&place, (1, 3), LIMIT).is_none(), "for three");
        let other = format!("0{}", &place[1..]);
        let other = if other == place {
            format!("1{}", &place[1..])
        } else {
            other
        };
        assert!(
            Memory::find(&other, (1, 2), LIMIT).is_none(),
            "another mark"
        );
        assert!(Memory::find("", (1, 2), LIMIT).is_none());
        assert!(Memory::find("00:/dev/null", (1, 2), LIMIT).is_none());
    }
}
