//! Processes that exchange tensors, on Linux: through memory where all are on one machine, else by libtorch's c10d with
//! Gloo.

#[cfg(target_os = "linux")]
mod memory;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::shim::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_store_open(
        address: *const c_char,
        port: *mut i32,
        serves: bool,
        timeout: i64,
        out: *mut *mut c_void,
    ) -> Text;
    fn rewind_store_free(store: *mut c_void);
    fn rewind_store_set(store: *mut c_void, key: *const c_char, value: *const c_char) -> Text;
    fn rewind_store_get(store: *mut c_void, key: *const c_char, out: *mut *mut c_char) -> Text;
    fn rewind_group_open(
        store: *mut c_void,
        prefix: *const c_char,
        rank: i32,
        count: i32,
        host: *const c_char,
        interface: *const c_char,
        timeout: i64,
        out: *mut *mut c_void,
    ) -> Text;
    fn rewind_group_free(group: *mut c_void);
    fn rewind_group_exchange(
        group: *mut c_void,
        from: *const C_tensor,
        to: *const C_tensor,
        given_up: *const AtomicBool,
    ) -> Text;
    fn rewind_group_gather(
        group: *mut c_void,
        from: *const C_tensor,
        to: *const C_tensor,
        given_up: *const AtomicBool,
    ) -> Text;
    fn free(text: *mut c_void);
}

/// Texts by their keys, which one process holds for all.
#[derive(Debug)]
pub struct Store(NonNull<c_void>);

// SAFETY: libtorch's store may be used by any thread; it locks itself.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// The store at this address, and its port. Who `serves` holds it, at a port that the system chooses if it is 0;
    /// others wait for it so long.
    ///
    /// # Errors
    /// If the port is in use, or there is nobody.
    pub fn open(
        address: &str,
        port: u16,
        serves: bool,
        patience: Duration,
    ) -> Result<(Self, u16), ShimError> {
        let (address, mut port, mut out) = (text(address)?, i32::from(port), null_mut());
        // SAFETY: the text outlives the call; on success `out` is a store that is ours.
        check(unsafe {
            rewind_store_open(
                address.as_ptr(),
                &mut port,
                serves,
                millis(patience),
                &mut out,
            )
        })?;
        let store = NonNull::new(out).ok_or_else(|| ShimError::new("no store".to_owned()))?;
        Ok((Self(store), port as u16))
    }

    /// Sets a text.
    ///
    /// # Errors
    /// If the process that holds the store is gone.
    pub fn set(&self, key: &str, value: &str) -> Result<(), ShimError> {
        let (key, value) = (text(key)?, text(value)?);
        // SAFETY: the store and the texts outlive the call.
        check(unsafe { rewind_store_set(self.0.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// The text of a key, once somebody has set it.
    ///
    /// # Errors
    /// If nobody does within the time that the store was opened with.
    pub fn get(&self, key: &str) -> Result<String, ShimError> {
        let (key, mut out) = (text(key)?, null_mut());
        // SAFETY: the store and the text outlive the call; on success `out` is a string that is ours.
        check(unsafe { rewind_store_get(self.0.as_ptr(), key.as_ptr(), &mut out) })?;
        // SAFETY: see above; it is freed once and not used again.
        Ok(unsafe {
            let value = CStr::from_ptr(out).to_string_lossy().into_owned();
            free(out.cast());
            value
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it any more.
        unsafe { rewind_store_free(self.0.as_ptr()) };
    }
}

/// One of several processes that exchange tensors. All call the same, in the same order.
#[derive(Debug)]
pub struct Group(Way);

#[derive(Debug)]
enum Way {
    #[cfg(target_os = "linux")]
    Memory(memory::Memory),
    Gloo(NonNull<c_void>),
}

// SAFETY: either way may be used by any thread; calls come from one at a time, as all processes must make them
// in one order.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

/// Where the others reach a process.
#[derive(Clone, Copy, Debug)]
pub enum Reached<'a> {
    /// At this host name or address.
    Host(&'a str),
    /// At the network interface of this name.
    Interface(&'a str),
}

impl Group {
    /// The process with this rank of `count`, which find each other through a store. A call that takes longer than
    /// `limit` fails. If all can, and none is told not to by `with_memory`, they exchange through memory.
    ///
    /// # Errors
    /// If one of the others does not come, or cannot be reached.
    pub fn open(
        store: &Store,
        name: &str,
        (rank, count): (usize, usize),
        reached: Reached<'_>,
        limit: Duration,
        with_memory: bool,
    ) -> Result<Self, ShimError> {
        #[cfg(target_os = "linux")]
        if let Some(memory) = memory::meet(store, name, (rank, count), limit, with_memory)? {
            return Ok(Self(Way::Memory(memory)));
        }
        let (name, mut out) = (text(name)?, null_mut());
        let (host, interface) = match reached {
            Reached::Host(host) => (text(host)?, text("")?),
            Reached::Interface(interface) => (text("")?, text(interface)?),
        };
        // SAFETY: the store and the texts outlive the call; on success `out` is a group that is ours.
        check(unsafe {
            rewind_group_open(
                store.0.as_ptr(),
                name.as_ptr(),
                rank as i32,
                count as i32,
                host.as_ptr(),
                interface.as_ptr(),
                millis(limit),
                &mut out,
            )
        })?;
        let gloo = NonNull::new(out).ok_or_else(|| ShimError::new("no group".to_owned()))?;
        Ok(Self(Way::Gloo(gloo)))
    }

    /// Sends part i of `from` to process i, and receives its part for this one as part i of `to`. It ends early
    /// when `given_up` comes true.
    ///
    /// # Shapes
    /// Both: `[processes, ...]`, contiguous on the CPU, the same for all.
    ///
    /// # Errors
    /// If another process is gone or was given up.
    pub fn exchange(
        &self,
        from: &Tensor,
        to: &Tensor,
        given_up: &AtomicBool,
    ) -> Result<(), ShimError> {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Way::Memory(memory) => {
                let mut to = to.shallow_clone();
                memory.exchange(memory::bytes(from)?, memory::bytes_mut(&mut to)?, given_up)
            }
            // SAFETY: all outlive the call.
            Way::Gloo(gloo) => check(unsafe {
                rewind_group_exchange(gloo.as_ptr(), from.as_ptr(), to.as_ptr(), given_up)
            }),
        }
    }

    /// Receives what every process sends, in their order.
    ///
    /// # Shapes
    /// `to`: `[processes, ...]`, each like `from`, contiguous on the CPU.
    ///
    /// # Errors
    /// As [`exchange`](Group::exchange).
    pub fn gather(
        &self,
        from: &Tensor,
        to: &Tensor,
        given_up: &AtomicBool,
    ) -> Result<(), ShimError> {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Way::Memory(memory) => {
                let mut to = to.shallow_clone();
                memory.gather(memory::bytes(from)?, memory::bytes_mut(&mut to)?, given_up)
            }
            // SAFETY: all outlive the call.
            Way::Gloo(gloo) => check(unsafe {
                rewind_group_gather(gloo.as_ptr(), from.as_ptr(), to.as_ptr(), given_up)
            }),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Way::Memory(_) => {}
            // SAFETY: it is ours, and nobody uses it any more.
            Way::Gloo(gloo) => unsafe { rewind_group_free(gloo.as_ptr()) },
        }
    }
}

fn text(text: &str) -> Result<CString, ShimError> {
    CString::new(text).map_err(|error| ShimError::new(error.to_string()))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
