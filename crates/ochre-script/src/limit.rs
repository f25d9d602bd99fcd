//! How much memory a script may take. A failed allocation ends a Rust process, so a script that asks for too much is not
//! answered at all: its thread stays where it asked, for good, and whoever waits for it is told.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Most bytes that one thread of a script may hold.
pub const BYTES_MAX: i64 = 128 << 20;

thread_local! {
    /// Where this thread reports that it asked for too much; null for threads that run no script.
    static REPORT: Cell<*const AtomicBool> = const { Cell::new(std::ptr::null()) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// An allocator that holds the threads of scripts to their limit, and is another one for everybody else. The binary
/// that runs scripts has it as its global allocator; without it there is no limit.
pub struct Limited<A>(pub A);

impl<A> Limited<A> {
    fn count(&self, bytes: i64) {
        // A thread that is ending has no such variables any more.
        let Ok(report) = REPORT.try_with(Cell::get) else { return };
        if report.is_null() {
            return;
        }
        let held = HELD.with(|h| {
            h.set(h.get() + bytes);
            h.get()
        });
        if bytes > 0 && held > BYTES_MAX {
            // SAFETY: `within` keeps what it points to until the thread has left it, and this thread never does.
            unsafe { (*report).store(true, Relaxed) };
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }
}

// SAFETY: every request goes to the inner allocator as it is; counting allocates nothing and does not unwind.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Limited<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size() as i64);
        // SAFETY: the caller's promises are those that the inner allocator asks for.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size() as i64);
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { self.0.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { self.0.realloc(at, layout, size) }
    }
}

/// Runs `work` within the limit; `report` becomes true, and `work` does not end, when it asks for more.
pub fn within(report: &AtomicBool, work: impl FnOnce()) {
    HELD.set(0);
    REPORT.set(report);
    work();
    REPORT.set(std::ptr::null());
}
