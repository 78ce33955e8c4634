//! A C library that calls back with a `void *` on its own threads, connected to the loop:
//!
//! - a single answer is a Deferred, and the context is its `RemoteResolver`;
//! - repeated readings are a queue, and the context is its `RemoteSender`.
//!
//! The library is `c_library/library.c`. The owner of the context frees it: this program if the
//! library refuses the call, otherwise the library's last callback. The library's threads touch
//! nothing of the loop.
//!
//! ```text
//! cargo run --example c_callback
//! ```

use std::ffi::{c_int, c_void};
use std::process::ExitCode;

use deferred_core::{Deferred, DeferredQueue, Failure, Reactor, RemoteResolver, RemoteSender, inline_callbacks, park};

/// The library's header, as a tool such as bindgen would generate it.
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

/// Asks the library. The Deferred fires when the library calls back.
#[allow(unsafe_code, reason = "C is called")]
fn ask(reactor: &Reactor, number: c_int) -> Deferred<c_int> {
    let (answer, resolver) = reactor.remote();
    let context = Box::into_raw(Box::new(resolver));
    // SAFETY: `on_answer` expects this context, which belongs to the library until it calls
    // `on_answer`.
    if unsafe { library::library_ask(number, on_answer, context.cast()) } != 0 {
        // SAFETY: the library refused and does not call back, so the context belongs to this
        // function again.
        let resolver = unsafe { Box::from_raw(context) };
        resolver.errback(Failure::msg(format!("the library refused the question {number}")));
    }
    answer
}

/// Called once for each accepted question, on a thread of the library.
extern "C" fn on_answer(context: *mut c_void, answer: c_int) {
    // SAFETY: the context is the box that `ask` passed to the library, which passes it back once.
    #[allow(unsafe_code, reason = "a context of C")]
    let resolver = unsafe { Box::from_raw(context.cast::<RemoteResolver<c_int>>()) };
    resolver.callback(answer);
}

/// A subscription to the readings, which ends when it is dropped.
struct Readings {
    queue: DeferredQueue<c_int>,
    subscription: *mut library::Subscription,
}

impl Readings {
    #[allow(unsafe_code, reason = "C is called")]
    fn subscribe(reactor: &Reactor) -> Result<Readings, Failure> {
        // If the loop does not keep up, the newest readings are dropped, so that memory does not
        // grow.
        let (queue, sender) = reactor.remote_queue(Some(100));
        let context = Box::into_raw(Box::new(sender));
        // SAFETY: `on_reading` and `on_end` expect this context, which belongs to the library until
        // it calls `on_end`.
        let subscription = unsafe { library::library_subscribe(on_reading, on_end, context.cast()) };
        if subscription.is_null() {
            // SAFETY: the library refused and does not call back, so the context belongs to this
            // function again.
            drop(unsafe { Box::from_raw(context) });
            return Err(Failure::msg("the library refused the subscription"));
        }
        Ok(Readings { queue, subscription })
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        // SAFETY: the subscription has not been ended, since only this ends it. The context belongs
        // to the library until it calls `on_end`; readings until then are dropped with the queue.
        #[allow(unsafe_code, reason = "C is called")]
        unsafe {
            library::library_unsubscribe(self.subscription);
        }
    }
}

/// Called for each reading, on a thread of the library.
extern "C" fn on_reading(context: *mut c_void, reading: c_int) {
    // SAFETY: the context is the box that `subscribe` passed to the library, and only `on_end`
    // takes it back.
    #[allow(unsafe_code, reason = "a context of C")]
    let sender = unsafe { &*context.cast::<RemoteSender<c_int>>() };
    // Sending fails if the queue is full or the loop has ended. The library has no use for the
    // error.
    let _ = sender.send(reading);
}

/// Called once, after the last reading, on a thread of the library.
extern "C" fn on_end(context: *mut c_void) {
    // SAFETY: the context is the box that `subscribe` passed to the library, which passes it back
    // once. Dropping the only sender closes the queue.
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
            // The library may send more readings before it ends the queue.
            while queue.get().await.is_ok() {}
            println!("the library has released the context");
            Ok(())
        })
    })
}
