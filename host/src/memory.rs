//! Memory: kept for reuse, and what those say who did not get it.

use std::io;

/// Keeps what is freed for what is asked for next. A training step frees as much as the next one needs;
/// glibc would give it back to the system each time, and the system clear every page of it again.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // No piece is mapped by itself: of pieces above 32 MB, as the activations of a wide network are, glibc
        // would do that whatever the threshold.
        const MAPPED: libc::c_int = 0;
        // Nothing is returned before the end.
        const NEVER: libc::c_int = -1;
        // SAFETY: it changes settings of the allocator, which takes its own lock.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, MAPPED);
            libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
        }
    }
}

/// Lets threads that train shards side by side keep what they free, too: glibc gives each thread room of its own, in
/// pieces of 64 MB that go back to the system whatever the settings. To be called before there are threads.
pub fn keep_freed_by_threads() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const ROOMS: libc::c_int = 1;
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, ROOMS);
        }
    }
}

/// What says that memory ran out: libtorch on the CPU and on a GPU, C++, the system, and this module.
/// oneDNN tells nothing more of a primitive whose memory it does not get; one that it does not have at
/// all would fail at a network's first step.
const SIGNS: [&str; 10] = [
    NO_POOL,
    NO_THREAD,
    "could not create a primitive",
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "Cannot allocate memory",
    "could not create a memory object",
    "memory allocation failed",
];

/// What rayon says where the system gives it no threads, which need memory for their stacks.
const NO_POOL: &str = "thread pool has not been initialized";

/// What the system says where it gives a thread no stack (EAGAIN). Nothing else of the program is told to try again: its
/// sockets wait, and it takes no locks of files.
const NO_THREAD: &str = "Resource temporarily unavailable";

/// How libtorch introduces the size of what it asked for.
const TRIED: &str = "you tried to allocate ";

/// How libtorch begins to say that a GPU's memory ran out, and this module after it.
const OF_GPU: &str = "CUDA out of memory";

/// What libtorch says of a GPU whose memory ran out: how much was asked for, and how much was free.
fn shortage_of_gpu(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(OF_GPU)?;
    // As it was told once already.
    if rest.starts_with(", when ") {
        let end = |last: &str| rest.find(last).map(|at| at + last.len());
        let end = end(" were free").or_else(|| end(" asked for"))?;
        return Some(format!("{OF_GPU}{}", &rest[..end]));
    }
    let size = |after: &str| -> Option<&str> {
        let (_, rest) = rest.split_once(after)?;
        let end = rest.find("iB").map(|at| at + 2)?;
        Some(&rest[..end])
    };
    let asked = size("Tried to allocate ").map_or_else(String::new, |it| {
        let free = size("of which ").map_or_else(String::new, |it| format!(" and {it} were free"));
        format!(", when {it} more were asked for{free}")
    });
    Some(format!("{OF_GPU}{asked}"))
}

/// Whether a failure's text says that memory ran out, or that a thread got none; then in a few words, with the size
/// of what was asked for if the text has it.
pub fn shortage(text: &str) -> Option<String> {
    SIGNS.iter().find(|sign| text.contains(*sign))?;
    if let Some(of_gpu) = shortage_of_gpu(text) {
        return Some(of_gpu);
    }
    let bytes = text.split_once(TRIED).and_then(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse::<u64>().ok()
    });
    Some(match bytes {
        None if [NO_POOL, NO_THREAD].iter().any(|it| text.contains(it)) => {
            "out of memory, or of threads".to_owned()
        }
        Some(bytes) => format!("out of memory, when {bytes} bytes more were asked for"),
        None => "out of memory".to_owned(),
    })
}

/// What memory that was not to be had costs, and what to do.
pub fn with_advice(shortage: &str) -> String {
    let advice = match shortage.starts_with(OF_GPU) {
        true => {
            "train fewer seeds together (--seeds, --seeds-together), fewer runs (--jobs), or smaller batches: with \
             `train.accumulate` a step keeps its samples"
        }
        false => "make memory free or raise the limit",
    };
    format!("{shortage}; {advice}; what is stored is whole: the same command goes on from there")
}

/// What a write failed for and what to do: memory and threads, too, can be what the system has not.
pub fn why_unwritten(source: &io::Error) -> String {
    let source = source.to_string();
    match shortage(&source) {
        Some(shortage) => format!("{source}: {}", with_advice(&shortage)),
        None => format!("{source}; make room or mend the folder, and run the same command again"),
    }
}

/// The text of a panic.
pub fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorchs_failure_to_allocate_is_told_from_others_with_its_bytes() {
        let said = "called `Result::unwrap()` on an `Err` value: Torch(\"[enforce fail at \
                    alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you \
                    tried to allocate 1073741824 bytes. Error code 12 (Cannot allocate memory)\")";
        let expected = "out of memory, when 1073741824 bytes more were asked for";
        assert_eq!(shortage(said).as_deref(), Some(expected));
        // What was found once is found again where it is passed on in a longer message.
        assert!(shortage(&format!("gradients: {expected}")).is_some());
        let pool = "The global thread pool has not been initialized.: ThreadPoolBuildError { .. }";
        let expected = "out of memory, or of threads";
        assert_eq!(shortage(pool).as_deref(), Some(expected));
        let stack = std::io::Error::from_raw_os_error(libc::EAGAIN);
        let said = why_unwritten(&stack);
        assert!(said.contains("or of threads; make memory free"), "{said}");
        assert!(!said.contains("make room"), "{said}");
        let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let said = why_unwritten(&full);
        assert!(said.contains("; make room or mend the folder"), "{said}");
        let stack = format!("the thread that reads images ahead failed: {stack}");
        assert_eq!(shortage(&stack).as_deref(), Some(expected));
        assert_eq!(shortage("mat1 and mat2 shapes cannot be multiplied"), None);
    }

    #[test]
    fn a_gpus_memory_is_told_with_what_was_asked_for_and_what_was_free() {
        let said = "CUDA out of memory. Tried to allocate 20.50 GiB. GPU 0 has a total capacity of 139.80 GiB of \
                    which 12.75 MiB is free. Process 1 has 139.70 GiB memory in use.";
        let expected =
            "CUDA out of memory, when 20.50 GiB more were asked for and 12.75 MiB were free";
        let found = shortage(said).unwrap();
        assert_eq!(found, expected);
        assert_eq!(
            shortage(&format!("a step: {found}; more")).as_deref(),
            Some(expected)
        );
        assert!(with_advice(&found).contains("train.accumulate"), "{found}");
        assert_eq!(
            shortage("CUDA out of memory").as_deref(),
            Some("CUDA out of memory")
        );
    }
}
