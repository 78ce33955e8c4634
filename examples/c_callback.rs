//! A C library that calls back with a `void *`, on threads of its own, brought into the loop:
//!
//! - an answer that comes once is a Deferred, and the context is its `RemoteResolver`;
//! - readings that come many times are a queue, and the context is its `RemoteSender`.
//!
//! The library is `c_library/library.c`. Whoever owns the context frees it: we do where the library
//! refuses, and the last call of the library does otherwise. Nothing of the loop is touched on the
//! library's threads.
//!
//! ```text
//! cargo run --example c_callback
//! ```

use std::ffi::{c_int, c_void};
use std::process::ExitCode;

use deferred_core::{Deferred, DeferredQueue, Failure, Reactor, RemoteResolver, RemoteSender, inline_callbacks, park};

/// The header of the library, as a tool such as bindgen writes it.
#[allow(unsafe_code, reason = "C is called")]
mod library {
    use std::ffi::{c_int, c_void};

    #[repr(C)]
    pub(super) struct Subscription {
        opaque: [u8; 0],
    }

    #[link(name = "library", kind = "static")]
    unsafe extern "C" {
        pub(super) fn library_ask(
            number: c_int,
            on_answer: extern "C" fn(*mut c_void, c_int),
            context: *mut c_void,
        ) -> c_int;
        pub(super) fn library_subscribe(
            on_reading: extern "C" fn(*mut c_void, c_int),
            on_end: extern "C" fn(*mut c_void),
            context: *mut c_void,
        ) -> *mut Subscription;
        pub(super) fn library_unsubscribe(subscription: *mut Subscription);
    }
}

/// Asks, and gives the answer when the library has called back.
#[allow(unsafe_code, reason = "C is called")]
fn ask(reactor: &Reactor, number: c_int) -> Deferred<c_int> {
    let (answer, resolver) = reactor.remote();
    let context = Box::into_raw(Box::new(resolver));
    // SAFETY: `on_answer` takes this context, which is the library's until it calls that.
    if unsafe { library::library_ask(number, on_answer, context.cast()) } != 0 {
        // SAFETY: the library has refused, so it does not call back, and the context is ours again.
        let resolver = unsafe { Box::from_raw(context) };
        resolver.errback(Failure::msg(format!("the library does not take the question {number}")));
    }
    answer
}

/// Called once for each question that was taken, on a thread of the library.
extern "C" fn on_answer(context: *mut c_void, answer: c_int) {
    // SAFETY: it is what `ask` has given away, and comes back once.
    #[allow(unsafe_code, reason = "a context of C")]
    let resolver = unsafe { Box::from_raw(context.cast::<RemoteResolver<c_int>>()) };
    resolver.callback(answer);
}

/// Readings as they come, until this is dropped.
struct Readings {
    queue: DeferredQueue<c_int>,
    subscription: *mut library::Subscription,
}

impl Readings {
    #[allow(unsafe_code, reason = "C is called")]
    fn subscribe(reactor: &Reactor) -> Result<Readings, Failure> {
        // A loop that does not keep up loses the newest ones, and its memory does not grow.
        let (queue, sender) = reactor.remote_queue(Some(100));
        let context = Box::into_raw(Box::new(sender));
        // SAFETY: `on_reading` and `on_end` take this context, which is the library's until it
        // calls the latter.
        let subscription = unsafe { library::library_subscribe(on_reading, on_end, context.cast()) };
        if subscription.is_null() {
            // SAFETY: the library has refused, so it does not call back, and the context is ours
            // again.
            drop(unsafe { Box::from_raw(context) });
            return Err(Failure::msg("the library takes no subscription"));
        }
        Ok(Readings { queue, subscription })
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        // SAFETY: it is a subscription that has not been ended, since only this ends it. The
        // context stays the library's until it calls `on_end`; what it sends until then is dropped
        // with the queue.
        #[allow(unsafe_code, reason = "C is called")]
        unsafe {
            library::library_unsubscribe(self.subscription);
        }
    }
}

/// Called again and again, on a thread of the library.
extern "C" fn on_reading(context: *mut c_void, reading: c_int) {
    // SAFETY: it is what `subscribe` has given away, and nobody takes it before `on_end`.
    #[allow(unsafe_code, reason = "a context of C")]
    let sender = unsafe { &*context.cast::<RemoteSender<c_int>>() };
    // Refused where there is no room, and behind the end of the loop: nobody is there to be told.
    let _ = sender.send(reading);
}

/// Called last, on a thread of the library.
extern "C" fn on_end(context: *mut c_void) {
    // SAFETY: it is what `subscribe` has given away, and comes back once. With it the last sender
    // ends, and the queue.
    #[allow(unsafe_code, reason = "a context of C")]
    drop(unsafe { Box::from_raw(context.cast::<RemoteSender<c_int>>()) });
}

fn main() -> ExitCode {
    park::react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            println!("the answer is {}", ask(&reactor, 21).await?);
            if let Err(failure) = ask(&reactor, -1).await {
                println!("refused: {failure}");
            }
            let readings = Readings::subscribe(&reactor)?;
            for _ in 0..5 {
                println!("reading {}", readings.queue.get().await?);
            }
            let queue = readings.queue.clone();
            drop(readings);
            // The library may have sent some more, and then it ends the queue.
            while queue.get().await.is_ok() {}
            println!("the library has let go of the context");
            Ok(())
        })
    })
}
