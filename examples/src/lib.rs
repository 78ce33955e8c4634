//! What the examples share: a story with the time of each line, hosts on loopback, a blocking HTTP
//! client, and an end.
#![forbid(unsafe_code)]

mod end;
mod hosts;
mod story;

pub use end::{forever, run_for};
pub use hosts::{AnsweringHost, SilentHost, UnreachableHost, fetch};
pub use story::Story;

/// The programs in the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// What must not be done from a thread, and does not compile: `article/program_8_from_threads.rs`
/// has what may.
///
/// A timer of the loop, made in a thread:
///
/// ```compile_fail,E0277
/// use std::{thread, time::Duration};
///
/// deferred_smol::run(|reactor| {
///     let reactor = reactor.clone();
///     thread::spawn(move || reactor.call_later(Duration::from_secs(1), || ()));
/// });
/// ```
///
/// A Deferred, fired in a thread by the resolver that must not travel:
///
/// ```compile_fail,E0277
/// let (deferred, resolver) = deferred_smol::Deferred::<u32>::new();
/// std::thread::spawn(move || resolver.callback(1));
/// ```
///
/// A callback, added in a thread:
///
/// ```compile_fail,E0277
/// let (deferred, resolver) = deferred_smol::Deferred::<u32>::new();
/// std::thread::spawn(move || drop(deferred.add_callback(|value| println!("{value}"))));
/// ```
///
/// A connection, written to in a thread, which is how the article's receiver lost its messages:
///
/// ```compile_fail,E0277
/// fn receive(transport: deferred_smol::net::Transport) {
///     std::thread::spawn(move || transport.write(b"a message"));
/// }
/// ```
#[cfg(doctest)]
struct FromThreads;

/// Everything of both adapters, taken at once, is not ambiguous:
///
/// ```
/// use deferred_smol::*;
/// use deferred_threadpool::*;
///
/// let answer = run_until(|_| defer_to_thread(|| Ok(6 * 7)));
/// assert_eq!(answer.unwrap(), 42);
/// fn program() -> std::process::ExitCode {
///     react(|reactor| reactor.sleep(std::time::Duration::ZERO))
/// }
/// # program();
/// ```
#[cfg(doctest)]
struct Globs;
