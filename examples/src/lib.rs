//! Code that the examples share: output with the time of each line, hosts on loopback, a blocking
//! HTTP client, and a limit on the running time.
#![forbid(unsafe_code)]

mod end;
mod hosts;
mod story;

pub use end::{forever, run_for};
pub use hosts::{AnsweringHost, SilentHost, UnreachableHost, fetch};
pub use story::Story;

/// Runs the programs in the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Runs the programs in the guide to porting as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/porting.md")]
struct Porting;

/// Calls from another thread that must not compile. `article/program_8_from_threads.rs` shows the
/// calls that do.
///
/// Starting a timer of the loop in another thread:
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
/// Firing a Deferred in another thread by its `Resolver`, which is not `Send`:
///
/// ```compile_fail,E0277
/// let (deferred, resolver) = deferred_smol::Deferred::<u32>::new();
/// std::thread::spawn(move || resolver.callback(1));
/// ```
///
/// Adding a callback in another thread:
///
/// ```compile_fail,E0277
/// let (deferred, resolver) = deferred_smol::Deferred::<u32>::new();
/// std::thread::spawn(move || drop(deferred.add_callback(|value| println!("{value}"))));
/// ```
///
/// Writing to a connection in another thread, which loses messages in Twisted:
///
/// ```compile_fail,E0277
/// fn receive(transport: deferred_smol::net::Transport) {
///     std::thread::spawn(move || transport.write(b"a message"));
/// }
/// ```
#[cfg(doctest)]
struct FromThreads;

/// Importing everything from both adapter crates is not ambiguous:
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
