//! Aborts the process on a panic of user code that could leave a Deferred that never fires.

#![forbid(unsafe_code)]

use std::io::Write;

/// Aborts the process when dropped. It is on the stack while code runs that must not unwind.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // Not `eprintln`, which panics if standard error is closed.
        let _ = std::io::stderr().write_all(
            b"deferred: aborting: a destructor, a conversion from BuiltinError or a waker of other code panicked where \
              no callback can receive the panic; catch it inside that code\n",
        );
        std::process::abort();
    }
}

/// Calls `f` and aborts the process if it panics.
///
/// It surrounds user code that runs where no callback can receive a panic as its error:
/// destructors, conversions from [`BuiltinError`](crate::BuiltinError), wakers.
// As `#[inline]`, a tail-recursive loop takes 0.9 % more instructions (bench: engine/).
#[inline(always)]
pub(crate) fn never_unwinding<R>(f: impl FnOnce() -> R) -> R {
    let abort = AbortOnDrop;
    let value = f();
    std::mem::forget(abort);
    value
}
